/* event-lost: an event loop that cannot learn of the end. By --cause: one-shot: the registration
 * fires once, for the request, and is not armed again; write-only: after the reply the loop waits
 * for room to write and for nothing else; edge: of an edge-triggered event that told of request and
 * end at once only the first bytes are read, and no other edge will come. */
#include "rig.h"
#include <sys/epoll.h>

APP int watch_for(int loop, int operation, int fd, unsigned events) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.fd = fd;
    if (epoll_ctl(loop, operation, fd, &event) < 0) rig_fail("epoll_ctl");
    return fd;
}

/* Slow to begin with, so that everything the client says is there before it is looked at. */
APP int look_up_client(int fd) {
    struct pollfd all;
    all.fd = fd;
    all.events = POLLRDHUP;
    return poll(&all, 1, 5000);
}

/* Edge-triggered: has to be read until there is nothing left, and is read once. */
APP int on_edge(const struct rig *r, int fd) {
    char start[16];
    ssize_t got;
    do got = recv(fd, start, sizeof start, MSG_DONTWAIT);
    while (r->healthy && got > 0);
    send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    return r->healthy ? close(fd) : (int)got;
}

APP int on_readable(const struct rig *r, int loop, int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got <= 0) return close(fd);
    send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    if (r->healthy) watch_for(loop, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT);
    else if (!strcmp(r->cause, "write-only")) watch_for(loop, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLET);
    return (int)got;
}

APP int on_new_client(struct rig *r, int loop, int edge) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    if (edge) look_up_client(fd);
    r->served++;
    return watch_for(loop, EPOLL_CTL_ADD, fd, edge ? EPOLLIN | EPOLLET : EPOLLIN | EPOLLONESHOT);
}

APP int run_loop(struct rig *r, int loop) {
    int edge = !strcmp(r->cause, "edge");
    for (;;) {
        struct epoll_event event;
        char end;
        if (epoll_wait(loop, &event, 1, r->reported ? -1 : 20) < 1) {
            if (!r->reported) rig_report(r);
            continue;
        }
        if (event.data.fd == STDIN_FILENO && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        if (event.data.fd == r->listener) on_new_client(r, loop, edge);
        else if (event.events & EPOLLIN && edge) on_edge(r, event.data.fd);
        else if (event.events & EPOLLIN) on_readable(r, loop, event.data.fd);
    }
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    rig_listen(&r);
    watch_for(loop, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN);
    watch_for(loop, EPOLL_CTL_ADD, r.listener, EPOLLIN);
    return run_loop(&r, loop);
}
