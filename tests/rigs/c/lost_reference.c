/* lost-reference: the handler answers and returns through a path that forgets the descriptor,
 * while the client is still connected. The FIN comes later, to a socket nobody remembers. */
#include "rig.h"

APP int handle_client_and_forget(const struct rig *r, int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    ssize_t sent = got > 0 ? send(fd, RIG_REPLY, strlen(RIG_REPLY), 0) : 0;
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
