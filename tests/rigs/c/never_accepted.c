/* never-accepted: after its first client the only acceptor waits for a backend that never answers.
 * Clients queue up in the kernel, give up and close; their sockets have no owner at all. */
#include "rig.h"

/* The backend is stdin: silent while the test runs, ended when the harness lets go. */
APP int wait_for_backend(const struct rig *r) {
    char answer;
    ssize_t got = read(STDIN_FILENO, &answer, 1);
    if (got <= 0) exit(0);
    return (int)got + r->port;
}

APP int serve_connection(struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got > 0) send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    close(fd);
    return (int)got;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int work = 0;
    r.count = rig_count_on_port;
    rig_listen(&r);
    signal(SIGCHLD, SIG_IGN);
    rig_next(&r);
    work += serve_connection(&r);
    r.served--; /* the warm-up client is not one of those that get stuck */
    if (!r.healthy) rig_report_from_outside(&r);
    for (;;) {
        if (!r.healthy) work += wait_for_backend(&r);
        rig_next(&r);
        work += serve_connection(&r);
    }
    return work;
}
