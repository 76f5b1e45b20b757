/* eof-ignored by one of three functions that read through the program's own wrappers, all at one depth of
 * one stack: only the return addresses far above the stack pointer tell them apart.
 * -DROOM: bytes of the wrapper's buffer, which lies between. -DNESTED: three wrappers one in another.
 * -DUNWRITTEN: the buffer begins 64 bytes below a page that nobody has written to, so that it is not in memory.
 * -DPAUSE: microseconds between the reads. -DFORGET_BODY: lost-reference instead, after the body.
 * -DRARE: before each end a connection of its own is read 400 times by a fourth function at that depth, and for
 * three seconds before the first: what is rare is not known yet when it comes. */
#include "rig.h"

#include <alloca.h>
#include <stdint.h>

#ifndef ROOM
#define ROOM 256
#endif
#ifndef PAUSE
#define PAUSE 40000
#endif
#define STAYS __asm__ volatile("" ::: "memory")

APP int get(int fd, size_t most) {
#ifdef UNWRITTEN
    char *here = alloca(16);
    char *room = alloca(ROOM + (((uintptr_t)here + 64) & 4095));
#else
    char room[ROOM];
#endif
    int got = recv(fd, room, most < ROOM ? most : ROOM, 0);
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

/* Both ends of a connection that the rig makes to itself, through a listener of its own. */
static void connect_to_itself(int ends[2]) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t length = sizeof own;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || ends[1] < 0) rig_fail("socket");
    if (bind(listener, (struct sockaddr *)&own, length) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&own, &length) < 0)
        rig_fail("listen");
    if (connect(ends[1], (struct sockaddr *)&own, length) < 0) rig_fail("connect");
    ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (ends[0] < 0) rig_fail("accept");
    close(listener);
}

#ifdef RARE
/* The hot path: what comes over a connection that the rig made to itself, piece by piece. */
APP int read_piece(int fd) {
    int got = GET(fd, 2);
    STAYS;
    return got;
}

APP int serve_hot_path(int hot[2], int ends) {
    int got = 0;
    for (int i = 0; i < 400; i++) {
        if (send(hot[1], "..", 2, 0) != 2) rig_fail("send");
        got += read_piece(hot[0]);
    }
    /* With the last rare connection both go: closed by a reset, they leave nothing behind. */
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; ends && i < 2; i++) {
        setsockopt(hot[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(hot[i]);
    }
    return got;
}
#endif

#ifdef FORGET_BODY
APP int serve_connection(const struct rig *r, int fd) {
    int got = read_header(fd);
    usleep(PAUSE);
    send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    got += read_body(fd);
    if (r->healthy) close(fd);
    return got;
}
#else
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
#endif

#ifndef RARE
/* A program that has run for three seconds: its code is known when the first client comes. */
static int run_for_a_while(const struct rig *r) {
    struct rig closes = *r;
    closes.healthy = 1;
    int got = 0;
    for (int i = 0; i < 30; i++) {
        int ends[2];
        connect_to_itself(ends);
        if (send(ends[1], "headbody", 8, 0) != 8) rig_fail("send");
        shutdown(ends[1], SHUT_WR);
        got += serve_connection(&closes, ends[0]);
        close(ends[1]);
        usleep(100000);
    }
    return got;
}
#endif

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int handled = 0;
#ifdef RARE
    int hot[2];
    connect_to_itself(hot);
    for (int i = 0; i < 60; i++) {
        handled += serve_hot_path(hot, 0);
        usleep(50000);
    }
#else
    handled += run_for_a_while(&r);
#endif
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        int fd = accept4(r.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) rig_fail("accept");
#ifdef RARE
        handled += serve_hot_path(hot, r.served == r.connections);
#endif
        handled += serve_connection(&r, fd);
    }
    return handled;
}
