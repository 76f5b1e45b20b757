/* hidden-closed: the kernel has already closed the connection (state CLOSE, invisible to ss and
 * netstat) and the program still has the descriptor. Three ways there, by --cause:
 * reset: answered and forgotten, then the client resets; write: answered after the client had
 * gone, which the client's kernel answers with a reset; shutdown: EOF seen and shutdown() called
 * where close() was meant. */
#include "rig.h"

APP int handle_reset_and_forget(const struct rig *r, int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    ssize_t sent = send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    if (r->healthy) close(fd);
    return (int)(got + sent);
}

APP int answer_the_vanished_and_forget(const struct rig *r, int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    struct pollfd gone;
    gone.fd = fd;
    gone.events = POLLRDHUP;
    poll(&gone, 1, 5000); /* the work that takes longer than the client's patience */
    ssize_t sent = send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    if (r->healthy) close(fd);
    return (int)(got + sent);
}

APP int shut_down_and_forget(const struct rig *r, int fd) {
    char request[1024];
    int requests = 0;
    while (recv(fd, request, sizeof request, 0) > 0) {
        requests++;
        send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    shutdown(fd, SHUT_WR);
    if (r->healthy) close(fd);
    return requests;
}

APP int serve_connection(struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    if (!strcmp(r->cause, "write")) return answer_the_vanished_and_forget(r, fd) + 1;
    if (!strcmp(r->cause, "shutdown")) return shut_down_and_forget(r, fd) + 1;
    return handle_reset_and_forget(r, fd) + 1;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int work = 0;
    r.stuck_state = TCP_CLOSE;
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        work += serve_connection(&r);
    }
    return work;
}
