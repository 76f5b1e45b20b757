/* fd-limit: a session that reads the end of the stream is not closed, until no descriptor is left.
 * From then on accept() fails with EMFILE, and later clients wait, give up and die in the queue. The
 * sessions that ate the descriptors come first, as many as --connections; the healthy twin closes. */
#include "rig.h"

/* Room for the sessions that leak and for nothing after them. */
static void lower_the_limit(const struct rig *r) {
    int next = dup(STDIN_FILENO);
    if (next < 0) rig_fail("dup");
    for (int fd = next; fd < 1024; fd++) close(fd); /* whatever was inherited */
    struct rlimit files;
    files.rlim_cur = files.rlim_max = (rlim_t)(next + r->connections);
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) rig_fail("setrlimit");
}

APP int handle_client_and_forget(int fd) {
    char request[1024];
    int requests = 0;
    while (recv(fd, request, sizeof request, 0) > 0) {
        send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
        requests++;
    }
    return requests;
}

/* As most servers: out of descriptors, wait a little and try again. */
APP int accept_client(const struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && errno != EMFILE) rig_fail("accept");
    if (fd < 0) usleep(10000);
    return fd;
}

APP int serve_connection(const struct rig *r) {
    int fd = accept_client(r);
    if (fd < 0) return 0;
    int requests = handle_client_and_forget(fd);
    if (r->healthy) close(fd);
    return requests;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int requests = 0;
    r.count = rig_count_unaccepted;
    rig_listen(&r);
    if (!r.healthy) rig_report_from_outside(&r);
    lower_the_limit(&r);
    r.served = -r.connections; /* those that come first */
    for (;;) {
        rig_next(&r);
        requests += serve_connection(&r);
    }
    return requests;
}
