/* A duplicate keeps it open: the handler duplicates the descriptor for its log, closes the
 * original like a good citizen, and forgets the duplicate. */
#include "rig.h"

APP int remember_for_log(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 100); }

APP int handle_client_and_close_one(const struct rig *r, int fd) {
    char request[1024];
    int log_fd = remember_for_log(fd), requests = 0;
    while (recv(fd, request, sizeof request, 0) > 0) {
        requests++;
        send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    close(fd);
    if (r->healthy) close(log_fd);
    return requests;
}

APP int serve_connection(struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    return handle_client_and_close_one(r, fd) + 1;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int handled = 0;
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        handled += serve_connection(&r);
    }
    return handled;
}
