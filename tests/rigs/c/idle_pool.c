/* idle-pool: a client that keeps its connections for the next request. The server closes idle
 * ones; the pool does not look before it needs one. Bounded by the size of the pool. This rig is
 * the client: --port names the server. The healthy twin looks, and throws dead ones away.
 * -DREAD_LATE: replies are read together with the server's FIN. */
#include "rig.h"

APP int pool_connect(const struct rig *r) {
    struct sockaddr_in server;
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)r->port);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) rig_fail("socket");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) rig_fail("connect");
    return fd;
}

APP int pool_ask(int fd) {
    static const char request[] = "GET /item HTTP/1.1\r\nHost: pool\r\n\r\n";
    return send(fd, request, sizeof request - 1, 0) < 0 ? -1 : 0;
}

APP int pool_receive(int fd) {
    char reply[1024];
#ifdef READ_LATE
    /* The reply is read when the FIN has come, and takes it along. */
    struct pollfd end;
    end.fd = fd;
    end.events = POLLRDHUP;
    if (poll(&end, 1, 5000) < 0) return -1;
#endif
    return (int)recv(fd, reply, sizeof reply, 0);
}

APP int fill_pool(const struct rig *r, int *pool) {
    int bytes = 0;
    for (int i = 0; i < r->connections; i++) {
        pool[i] = pool_connect(r);
        bytes += pool_ask(pool[i]);
    }
    for (int i = 0; i < r->connections; i++) bytes += pool_receive(pool[i]);
    return bytes;
}

APP int evict_dead(const struct rig *r, int *pool) {
    int evicted = 0;
    for (int i = 0; i < r->connections; i++) {
        struct pollfd look;
        look.fd = pool[i];
        look.events = POLLIN;
        if (poll(&look, 1, 5000) > 0) evicted += close(pool[i]) == 0;
    }
    return evicted;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int *pool = (int *)calloc((size_t)r.connections, sizeof *pool);
    if (!pool) rig_fail("calloc");
    printf("ready %d\n", r.port);
    int bytes = fill_pool(&r, pool);
    if (r.healthy) r.served = evict_dead(&r, pool);
    rig_park(&r);
    return bytes;
}
