/* lost-reference: the handler answers and returns through a path that forgets the descriptor,
 * while the client is still connected. The FIN comes later, to a socket nobody remembers.
 * Two more --causes look like an EOF that was read, and are none: fin-with-data: the FIN came in
 * with the request, and the recv() that returned the request took it along (Recv-Q 0);
 * empty-read: a recv() of length 0 returns 0 while data and the FIN lie unread. */
#include "rig.h"

static void wait_for_fin(int fd) {
    struct pollfd gone;
    gone.fd = fd;
    gone.events = POLLRDHUP;
    poll(&gone, 1, 5000);
}

APP int handle_client_and_forget(const struct rig *r, int fd) {
    char request[1024];
    if (!strcmp(r->cause, "fin-with-data")) wait_for_fin(fd);
    size_t room = strcmp(r->cause, "empty-read") ? sizeof request : 4;
    ssize_t got = recv(fd, request, room, 0);
    ssize_t sent = got > 0 ? send(fd, RIG_REPLY, strlen(RIG_REPLY), 0) : 0;
    if (!strcmp(r->cause, "empty-read")) {
        wait_for_fin(fd);
        got += recv(fd, request, 0, 0);
    }
    if (r->healthy) close(fd);
    return (int)(got + sent);
}

APP int serve_connection(struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    return handle_client_and_forget(r, fd) + 1;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int bytes = 0;
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        bytes += serve_connection(&r);
    }
    return bytes;
}
