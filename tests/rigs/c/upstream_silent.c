/* upstream-silent: an event loop that asks another service for each client and, until that answers, does not look at the
 * client. The service never answers, and nothing limits the time. The healthy one goes on watching for the client's end,
 * and then ends both. */
#include "rig.h"
#include <sys/epoll.h>

#define MAX_FDS 65536

static int asked_for[MAX_FDS]; /* by a client's descriptor: that of the service, which was asked for it */

APP int watch_for(int loop, int operation, int fd, unsigned events) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.fd = fd;
    if (epoll_ctl(loop, operation, fd, &event) < 0) rig_fail("epoll_ctl");
    return fd;
}

static int connect_to(int port) {
    struct sockaddr_in service;
    memset(&service, 0, sizeof service);
    service.sin_family = AF_INET;
    service.sin_port = htons((unsigned short)port);
    service.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&service, sizeof service) < 0) rig_fail("connect");
    return fd;
}

APP int pass_on(const struct rig *r, int loop, int client) {
    char request[1024];
    ssize_t got = recv(client, request, sizeof request, 0);
    if (got <= 0) return close(client);
    int service = connect_to(r->upstream);
    if (service >= MAX_FDS || client >= MAX_FDS) rig_fail("too many descriptors");
    asked_for[client] = service;
    if (r->healthy) watch_for(loop, EPOLL_CTL_MOD, client, EPOLLRDHUP);
    else watch_for(loop, EPOLL_CTL_DEL, client, 0);
    watch_for(loop, EPOLL_CTL_ADD, service, EPOLLIN);
    return (int)send(service, request, (size_t)got, 0);
}

APP int on_hangup(int client) {
    close(asked_for[client]);
    return close(client);
}

APP int on_new_client(struct rig *r, int loop) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    r->served++;
    return watch_for(loop, EPOLL_CTL_ADD, fd, EPOLLIN);
}

APP int run_loop(struct rig *r, int loop) {
    for (;;) {
        struct epoll_event event;
        char end;
        if (epoll_wait(loop, &event, 1, r->reported ? -1 : 20) < 1) {
            if (!r->reported) rig_report(r);
            continue;
        }
        int fd = event.data.fd;
        if (fd == STDIN_FILENO && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        if (fd == r->listener) on_new_client(r, loop);
        else if (event.events & EPOLLRDHUP && !(event.events & EPOLLIN)) on_hangup(fd);
        else if (event.events & EPOLLIN) pass_on(r, loop, fd);
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
