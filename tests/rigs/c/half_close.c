/* half-close-not-forwarded: a proxy reads the client's end of the stream and stops watching that side.
 * It does not tell the upstream, which therefore keeps its own side open for ever, and the pair is
 * kept until it ends too. The healthy twin passes the end on, and closes both when both have ended. */
#include "rig.h"

struct pair {
    int client, upstream, client_ended;
};

APP int connect_upstream(const struct rig *r) {
    struct sockaddr_in server;
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)r->upstream);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) rig_fail("socket");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) rig_fail("connect");
    return fd;
}

/* Bytes passed on; 0 is the end of the stream. */
APP int relay(int from, int to) {
    char piece[1024];
    ssize_t got = recv(from, piece, sizeof piece, 0);
    return got > 0 ? (int)send(to, piece, (size_t)got, 0) : 0;
}

APP int accept_pair(const struct rig *r, struct pair *pair) {
    pair->client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (pair->client < 0) rig_fail("accept");
    pair->upstream = connect_upstream(r);
    pair->client_ended = 0;
    return pair->client;
}

APP int on_upstream_end(struct pair *pair) {
    int closed = close(pair->client) + close(pair->upstream);
    pair->client = pair->upstream = -1;
    return closed;
}

APP int pump(const struct rig *r, struct pair *pair, const struct pollfd *sides) {
    if (sides[0].revents && relay(pair->client, pair->upstream) == 0) {
        pair->client_ended = 1;
        if (r->healthy) shutdown(pair->upstream, SHUT_WR);
    }
    if (sides[1].revents && relay(pair->upstream, pair->client) == 0) on_upstream_end(pair);
    return pair->client_ended;
}

APP int proxy_loop(struct rig *r, struct pair *pairs) {
    struct pollfd *watch = (struct pollfd *)calloc((size_t)r->connections * 2 + 2, sizeof *watch);
    int count = 0;
    if (!watch) rig_fail("calloc");
    for (;;) {
        watch[0].fd = STDIN_FILENO;
        watch[1].fd = count < r->connections ? r->listener : -1;
        for (int i = 0; i < count; i++) {
            watch[2 * i + 2].fd = pairs[i].client_ended ? -1 : pairs[i].client;
            watch[2 * i + 3].fd = pairs[i].upstream;
        }
        for (int i = 0; i < 2 * count + 2; i++) watch[i].events = POLLIN;
        int known = count;
        if (poll(watch, (nfds_t)known * 2 + 2, r->reported ? -1 : 20) < 0) rig_fail("poll");
        char end;
        if (watch[0].revents && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        for (int i = 0; i < known; i++) pump(r, &pairs[i], &watch[2 * i + 2]);
        if (watch[1].revents) {
            accept_pair(r, &pairs[count++]);
            r->served++;
        }
        if (!r->reported) rig_report(r);
    }
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    struct pair *pairs = (struct pair *)calloc((size_t)r.connections, sizeof *pairs);
    if (!pairs) rig_fail("calloc");
    rig_listen(&r);
    return proxy_loop(&r, pairs);
}
