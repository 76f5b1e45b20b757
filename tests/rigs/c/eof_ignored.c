/* eof-ignored: the handler answers every request, sees recv() return 0, and returns without
 * close(). As in a server whose "client went away" branch only leaves the loop. Health checks
 * (GET /health) are handled by other code, which does close.
 * -DREAD_THROUGH_HELPER: the recv sits in a function of its own, which is then the first
 * application frame; -DREAD_INLINE: in one that the compiler inlines, visible to debug information
 * only. -DREAD_WITH_STDIO: it sits below fgets(), behind several libc frames. */
#include "rig.h"

#if defined(READ_THROUGH_HELPER)
APP ssize_t read_request(int fd, char *request, size_t room) {
    ssize_t got = recv(fd, request, room, 0);
    if (got > 0) request[got < (ssize_t)room ? got : (ssize_t)room - 1] = 0;
    return got;
}
#elif defined(READ_INLINE)
static inline __attribute__((always_inline)) ssize_t read_request(int fd, char *to, size_t room) {
    return recv(fd, to, room, 0);
}
#else
#define read_request(fd, request, room) recv(fd, request, room, 0)
#endif

#ifdef READ_WITH_STDIO
APP int handle_client_and_forget(const struct rig *r, int fd) {
    char line[1024];
    int lines = 0;
    FILE *stream = fdopen(fd, "r");
    if (!stream) rig_fail("fdopen");
    while (fgets(line, sizeof line, stream)) {
        lines++;
        if (line[0] == '\r' || line[0] == '\n') send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    if (r->healthy) fclose(stream);
    return lines;
}
#else
APP int handle_client_and_forget(const struct rig *r, int fd) {
    char request[1024];
    int requests = 0;
    while (read_request(fd, request, sizeof request) > 0) {
        requests++;
        send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    if (r->healthy) close(fd);
    return requests;
}
#endif

APP int finish_connection(int fd) {
    return close(fd) == 0;
}

APP int answer_health_check(int fd) {
    char request[1024];
    int requests = 0;
    while (recv(fd, request, sizeof request, 0) > 0) {
        requests++;
        send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    return finish_connection(fd) + requests;
}

APP int is_health_check(int fd) {
    static const char start[] = "GET /health ";
    char request[sizeof start];
    ssize_t got = recv(fd, request, sizeof start - 1, MSG_PEEK);
    return got == (ssize_t)sizeof start - 1 && !memcmp(request, start, sizeof start - 1);
}

APP int serve_connection(struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    if (is_health_check(fd)) return answer_health_check(fd) + 1;
    return handle_client_and_forget(r, fd) + 1;
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
