/* What every C and C++ rig shares: options, the listener, telling the harness when the leak is
 * complete, and leaving when stdin ends. Nothing here touches a client's socket: accept, recv,
 * send and close stay in the rig, so that its own functions are the ones on the stack. */
#ifndef RIG_H
#define RIG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __clang__
#define APP __attribute__((noinline))
#else
#define APP __attribute__((noipa)) /* keeps the symbol: no inlining, cloning or partial copies */
#endif

#define RIG_REPLY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

struct rig {
    int port, upstream, connections, healthy, listener, served, reported;
    int stuck_state;                  /* TCP state in which this rig's sockets get stuck */
    int (*count)(const struct rig *); /* how this rig sees how many are */
    const char *family;               /* "4", "6", or "dual": IPv6 socket with IPv4 clients */
    const char *cause;                /* chooses between the ways one rig can leak */
};

static inline void rig_fail(const char *what) {
    perror(what);
    exit(1);
}

static inline int rig_tcp_state(int fd) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    memset(&info, 0, sizeof info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 ? info.tcpi_state : -1;
}

/* How many of this process's sockets are stuck; looks without reading from any of them. */
static inline int rig_count_held(const struct rig *r) {
    int found = 0;
    for (int fd = 3; fd < 3 * r->connections + 256; fd++)
        found += rig_tcp_state(fd) == r->stuck_state;
    return found;
}

/* How many are stuck on the listener's port: all, or those without an inode, which accept() gives. */
static inline int rig_count_in_table(const struct rig *r, int unaccepted_only) {
    FILE *table = fopen("/proc/self/net/tcp", "r");
    if (!table) rig_fail("/proc/self/net/tcp");
    char line[512];
    int found = 0;
    while (fgets(line, sizeof line, table)) {
        unsigned port, state, inode;
        const char *fields = " %*d: %*8[0-9A-F]:%x %*8[0-9A-F]:%*x %x %*s %*s %*s %*s %*s %u";
        if (sscanf(line, fields, &port, &state, &inode) == 3)
            found += port == (unsigned)r->port && state == (unsigned)r->stuck_state &&
                     (!unaccepted_only || inode == 0);
    }
    fclose(table);
    return found;
}

/* For sockets without a descriptor in this process. */
static inline int rig_count_on_port(const struct rig *r) { return rig_count_in_table(r, 0); }

static inline int rig_count_unaccepted(const struct rig *r) { return rig_count_in_table(r, 1); }

static inline struct rig rig_options(int argc, char **argv) {
    struct rig r;
    memset(&r, 0, sizeof r);
    r.connections = 5;
    r.stuck_state = TCP_CLOSE_WAIT;
    r.count = rig_count_held;
    r.family = "4";
    r.cause = "";
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--healthy")) {
            r.healthy = 1;
            continue;
        }
        if (!strcmp(argv[i], "--port")) r.port = atoi(value);
        else if (!strcmp(argv[i], "--upstream")) r.upstream = atoi(value);
        else if (!strcmp(argv[i], "--connections")) r.connections = atoi(value);
        else if (!strcmp(argv[i], "--family")) r.family = value;
        else if (!strcmp(argv[i], "--cause")) r.cause = value;
        else {
            fprintf(stderr, "usage: %s [--port N] [--upstream N] [--connections N] [--healthy] "
                            "[--family 4|6|dual] [--cause NAME]\n", argv[0]);
            exit(2);
        }
        i++;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return r;
}

/* Binds to loopback only, and says where. */
static inline void rig_listen(struct rig *r) {
    int v6 = strcmp(r->family, "4") != 0, yes = 1, only = strcmp(r->family, "6") == 0;
    struct sockaddr_in6 in6;
    struct sockaddr_in in4;
    memset(&in6, 0, sizeof in6);
    memset(&in4, 0, sizeof in4);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons((unsigned short)r->port);
    /* A dual-stack listener has to be bound to the v4-mapped form to stay on loopback. */
    inet_pton(AF_INET6, only ? "::1" : "::ffff:127.0.0.1", &in6.sin6_addr);
    in4.sin_family = AF_INET;
    in4.sin_port = htons((unsigned short)r->port);
    in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->listener = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->listener < 0) rig_fail("socket");
    setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (v6) setsockopt(r->listener, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    struct sockaddr *address = v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4;
    socklen_t length = v6 ? sizeof in6 : sizeof in4;
    if (bind(r->listener, address, length) < 0) rig_fail("bind");
    if (listen(r->listener, 4096) < 0) rig_fail("listen");
    if (getsockname(r->listener, address, &length) < 0) rig_fail("getsockname");
    r->port = ntohs(v6 ? in6.sin6_port : in4.sin_port);
    printf("ready %d\n", r->port);
}

/* Prints "leaking N" once: when every expected socket is stuck, or a healthy run has none left. */
static inline void rig_report(struct rig *r) {
    int stuck = r->count(r), wanted = r->healthy ? 0 : r->connections;
    if (stuck != wanted || (r->healthy && r->served < r->connections)) return;
    r->reported = 1;
    printf("leaking %d\n", stuck);
}

/* Waits until `fd` (or nobody, when negative) has something, watching the leak meanwhile. */
static inline void rig_wait(struct rig *r, int fd) {
    struct pollfd watch[2];
    for (;;) {
        watch[0].fd = STDIN_FILENO;
        watch[1].fd = fd;
        watch[0].events = watch[1].events = POLLIN;
        watch[0].revents = watch[1].revents = 0;
        if (poll(watch, 2, r->reported ? -1 : 20) < 0 && errno != EINTR) rig_fail("poll");
        char end;
        if (watch[0].revents && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        if (watch[1].revents) {
            r->served++;
            return;
        }
        if (!r->reported) rig_report(r);
    }
}

/* Returns when a client waits to be accepted. */
static inline void rig_next(struct rig *r) { rig_wait(r, r->listener); }

/* A second process watches the leak, so that this one can be stuck in earnest. */
static inline void rig_report_from_outside(struct rig *r) {
    pid_t stuck = getpid();
    pid_t watcher = fork();
    if (watcher < 0) rig_fail("fork");
    r->reported = 1;
    if (watcher > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != stuck) _exit(0);
    close(r->listener);
    r->reported = 0;
    while (!r->reported) {
        rig_report(r);
        usleep(20000);
    }
    fflush(stdout);
    _exit(0);
}

/* Nothing more to do: stays alive, with its sockets, until the harness lets go of stdin. */
static inline void rig_park(struct rig *r) {
    for (;;) rig_wait(r, -1);
}

#endif
