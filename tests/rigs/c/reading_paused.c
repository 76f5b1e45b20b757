/* reading-paused: a proxy passes requests on to an upstream that does not read. When there is no more
 * room there, it stops reading from the client and waits for room; that its client has left meanwhile
 * it does not see. The healthy twin gives up on an upstream that takes nothing for a while. */
#include "rig.h"

enum { PIECE = 4096, LITTLE_ROOM = 4096, PATIENCE_MS = 200 };

struct pair {
    int client, upstream;
    size_t kept; /* bytes of `piece` that the upstream had no room for */
    char piece[PIECE];
};

APP int connect_upstream(const struct rig *r) {
    struct sockaddr_in server;
    int room = LITTLE_ROOM;
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)r->upstream);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) rig_fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) rig_fail("connect");
    return fd;
}

/* Passes on what is kept, or else a new piece. 1: go on; 0: no more room there; -1: an end or an error. */
APP int relay_request(struct pair *pair) {
    if (pair->kept == 0) {
        ssize_t got = recv(pair->client, pair->piece, sizeof pair->piece, 0);
        if (got <= 0) return -1;
        pair->kept = (size_t)got;
    }
    ssize_t sent = send(pair->upstream, pair->piece, pair->kept, MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    pair->kept -= (size_t)sent;
    memmove(pair->piece, pair->piece + sent, pair->kept);
    return pair->kept == 0;
}

APP int close_pair(const struct pair *pair) {
    close(pair->upstream);
    return close(pair->client);
}

/* Until the upstream takes no more or the client has said all. */
APP int relay_while_room(struct pair *pair) {
    int more;
    do more = relay_request(pair);
    while (more > 0);
    return more;
}

APP int serve_connection(struct rig *r, struct pair *pair) {
    pair->kept = 0;
    pair->client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (pair->client < 0) rig_fail("accept");
    pair->upstream = connect_upstream(r);
    return relay_while_room(pair);
}

/* Waits for room at the upstreams, and for the next client. Paused clients are not in the set. */
APP int proxy_loop(struct rig *r, struct pair *paused) {
    struct pollfd *watch = (struct pollfd *)calloc((size_t)r->connections + 2, sizeof *watch);
    int count = 0;
    if (!watch) rig_fail("calloc");
    for (;;) {
        watch[0].fd = STDIN_FILENO;
        watch[1].fd = r->listener;
        watch[0].events = watch[1].events = POLLIN;
        for (int i = 0; i < count; i++) {
            watch[i + 2].fd = paused[i].upstream;
            watch[i + 2].events = POLLOUT;
        }
        int timeout = r->healthy ? PATIENCE_MS : r->reported ? -1 : 20;
        int ready = poll(watch, (nfds_t)count + 2, timeout);
        char end;
        if (watch[0].revents && read(STDIN_FILENO, &end, 1) <= 0) exit(0);
        if (!r->reported) rig_report(r);
        if (ready == 0 && r->healthy)
            while (count > 0) close_pair(&paused[--count]);
        for (int i = count - 1; ready > 0 && i >= 0; i--)
            if (watch[i + 2].revents && relay_while_room(&paused[i]) < 0) {
                close_pair(&paused[i]);
                paused[i] = paused[--count];
            }
        if (ready <= 0 || !watch[1].revents || count == r->connections) continue;
        if (serve_connection(r, &paused[count]) == 0) count++;
        else close_pair(&paused[count]);
        r->served++;
    }
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    struct pair *paused = (struct pair *)calloc((size_t)r.connections, sizeof *paused);
    if (!paused) rig_fail("calloc");
    rig_listen(&r);
    return proxy_loop(&r, paused);
}
