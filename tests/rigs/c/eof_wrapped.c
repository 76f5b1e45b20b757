/* eof-ignored by one of three functions that read through the program's own wrappers, all at one depth of
 * one stack: only the return addresses far above the stack pointer tell them apart.
 * -DROOM: bytes of the wrapper's buffer, which lies between. -DNESTED: three wrappers one in another.
 * -DPAUSE: microseconds between the reads. */
#include "rig.h"

#ifndef ROOM
#define ROOM 256
#endif
#ifndef PAUSE
#define PAUSE 40000
#endif
#define STAYS __asm__ volatile("" ::: "memory")

APP int get(int fd, size_t most) {
    char room[ROOM];
    int got = recv(fd, room, most < sizeof room ? most : sizeof room, 0);
    __asm__ volatile("" ::"r"(room) : "memory");
    return got;
}

#ifdef NESTED
APP int get_again(int fd, size_t most) {
    char room[ROOM];
    __asm__ volatile("" ::"r"(room) : "memory");
    int got = get(fd, most);
    __asm__ volatile("" ::"r"(room) : "memory");
    return got;
}

APP int get_all(int fd, size_t most) {
    int got = get_again(fd, most);
    STAYS;
    return got;
}
#define GET get_all
#else
#define GET get
#endif

APP int read_header(int fd) {
    int got = GET(fd, 4);
    STAYS;
    return got;
}

APP int read_body(int fd) {
    int got = GET(fd, sizeof(char[ROOM]));
    STAYS;
    return got;
}

APP int read_end_and_forget(int fd) {
    int got = GET(fd, 1);
    STAYS;
    return got;
}

APP int serve_connection(const struct rig *r, int fd) {
    int got = read_header(fd);
    usleep(PAUSE);
    got += read_body(fd);
    send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    struct pollfd end = {.fd = fd, .events = POLLIN};
    poll(&end, 1, 5000);
    usleep(PAUSE);
    got += read_end_and_forget(fd);
    if (r->healthy) close(fd);
    return got;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int handled = 0;
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        int fd = accept4(r.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) rig_fail("accept");
        handled += serve_connection(&r, fd);
    }
    return handled;
}
