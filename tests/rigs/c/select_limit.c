/* select-limit: a select() loop in a process with many open files. Clients whose descriptor is 1024 or
 * above do not fit into the set: they are accepted, never looked at again and never closed. The
 * healthy twin closes at once what it cannot watch. */
#include "rig.h"
#include <sys/select.h>

/* As many files as a busy process has, so that the next descriptor is out of reach. */
static void open_many_files(void) {
    int fd;
    do fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && fd < FD_SETSIZE - 1);
    if (fd < 0) rig_fail("open");
}

APP int serve_request(int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got > 0) send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    else close(fd);
    return (int)got;
}

APP int select_loop(struct rig *r) {
    fd_set watched;
    FD_ZERO(&watched);
    FD_SET(STDIN_FILENO, &watched);
    FD_SET(r->listener, &watched);
    for (;;) {
        fd_set ready = watched;
        struct timeval tick = {0, 20000};
        if (select(FD_SETSIZE, &ready, NULL, NULL, r->reported ? NULL : &tick) < 0) rig_fail("select");
        char end;
        if (FD_ISSET(STDIN_FILENO, &ready) && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        for (int fd = r->listener + 1; fd < FD_SETSIZE; fd++)
            if (FD_ISSET(fd, &ready) && serve_request(fd) <= 0) FD_CLR(fd, &watched);
        if (!r->reported) rig_report(r);
        if (!FD_ISSET(r->listener, &ready)) continue;
        int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) rig_fail("accept");
        r->served++;
        if (fd < FD_SETSIZE) FD_SET(fd, &watched);
        else if (r->healthy) close(fd);
    }
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    r.count = rig_count_on_port;
    rig_listen(&r);
    open_many_files();
    return select_loop(&r);
}
