/* process-stopped: a proper service that somebody stopped (a debugger, a frozen container) while it
 * had clients: it cannot see that they leave. Not a leak. The healthy twin is not stopped. */
#include "rig.h"

APP int serve_request(int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got > 0) send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    else close(fd);
    return (int)got;
}

APP int accept_client(const struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    return fd;
}

APP int serve_until_stopped(struct rig *r, struct pollfd *watch) {
    int clients = 0, answered = 0;
    for (;;) {
        watch[0].fd = STDIN_FILENO;
        watch[1].fd = clients < r->connections ? r->listener : -1;
        for (int i = 0; i < clients + 2; i++) watch[i].events = POLLIN;
        int known = clients;
        if (poll(watch, (nfds_t)known + 2, r->reported ? -1 : 20) < 0) rig_fail("poll");
        char end;
        if (watch[0].revents && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        for (int i = 2; i < known + 2; i++) {
            if (!watch[i].revents) continue;
            if (serve_request(watch[i].fd) > 0) answered++;
            else watch[i].fd = -1;
            if (answered == r->connections && !r->healthy) raise(SIGSTOP);
        }
        if (watch[1].revents) {
            watch[2 + clients++].fd = accept_client(r);
            r->served++;
        }
        if (!r->reported) rig_report(r);
    }
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    struct pollfd *watch = (struct pollfd *)calloc((size_t)r.connections + 2, sizeof *watch);
    if (!watch) rig_fail("calloc");
    r.count = rig_count_on_port;
    rig_listen(&r);
    if (!r.healthy) rig_report_from_outside(&r);
    return serve_until_stopped(&r, watch);
}
