/* inherited-fd: a pre-fork server. A helper forked in the middle of the work inherits the open
 * connections; the parent answers and closes each of them, the helper holds on. */
#include "rig.h"

static pid_t helper;

static void stop_helper(void) {
    if (helper > 0) kill(helper, SIGKILL);
}

/* What the child does for a living: nothing that concerns these sockets. */
APP int run_background_job(struct rig *r) {
    rig_park(r);
    return r->port;
}

APP pid_t spawn_helper(struct rig *r, const int *clients) {
    pid_t parent = getpid();
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) rig_fail("fork");
    if (child > 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    close(r->listener);
    for (int i = 0; r->healthy && i < r->connections; i++) close(clients[i]);
    printf("helper %d\n", (int)getpid());
    exit(run_background_job(r));
}

APP int answer_and_close(int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got > 0) send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    close(fd);
    return (int)got;
}

APP int accept_client(const struct rig *r) {
    int fd = accept(r->listener, NULL, NULL); /* no SOCK_CLOEXEC: the classic way to inherit */
    if (fd < 0) rig_fail("accept");
    return fd;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int *clients = (int *)calloc((size_t)r.connections, sizeof *clients);
    if (!clients) rig_fail("calloc");
    rig_listen(&r);
    for (int i = 0; i < r.connections; i++) {
        rig_next(&r);
        clients[i] = accept_client(&r);
    }
    helper = spawn_helper(&r, clients);
    atexit(stop_helper);
    for (int i = 0; i < r.connections; i++) answer_and_close(clients[i]);
    r.reported = 1; /* the child is the one that knows */
    rig_park(&r);
    return 0;
}
