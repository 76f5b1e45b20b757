/* worker-starvation: a dispatcher goes on accepting while every worker of the pool is stuck. By
 * --cause: in a write to a client that has stopped reading (the default); lock: each waits for a lock
 * that is never released; downstream: for the answer of a service that is silent; cpu: each computes
 * for ever. Later clients queue behind them, time out and close; their request is never read. The
 * healthy twin gives up.
 * --cause unqueued is its opposite: never-read, the workers wait for work that nobody queues. */
#include "rig.h"
#include <pthread.h>

enum { WORKERS = 5, CHUNK = 1 << 16, CHUNKS = 1 << 10 };

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    int *queue, head, tail;
    const struct rig *rig;
};

static pthread_mutex_t database = PTHREAD_MUTEX_INITIALIZER;

APP int write_metrics(int fd) {
    static const char chunk[CHUNK] = "metric 1\n";
    int sent = 0;
    for (int i = 0; i < CHUNKS; i++) {
        if (send(fd, chunk, sizeof chunk, 0) < 0) break;
        sent++;
    }
    return sent;
}

APP int query_database(int fd) {
    pthread_mutex_lock(&database);
    pthread_mutex_unlock(&database);
    return fd;
}

APP int ask_downstream(const struct rig *r) {
    struct sockaddr_in server;
    char answer[1024];
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)r->upstream);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) rig_fail("socket");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) rig_fail("connect");
    send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    ssize_t got = recv(fd, answer, sizeof answer, 0);
    close(fd);
    return (int)got;
}

APP unsigned compute_answer(int fd) {
    /* Volatile, or a loop without an end or an effect may be left out. */
    volatile unsigned answer = (unsigned)fd;
    for (;;) answer = answer * 1103515245u + 12345u;
    return answer;
}

APP int find_answer(const struct rig *r, int fd) {
    if (r->healthy || !*r->cause) return write_metrics(fd);
    if (!strcmp(r->cause, "cpu")) return (int)compute_answer(fd);
    int found = strcmp(r->cause, "lock") ? ask_downstream(r) : query_database(fd);
    return found + write_metrics(fd);
}

APP int serve_request(const struct pool *pool, int fd) {
    char request[1024];
    struct timeval patience = {0, 200000};
    if (pool->rig->healthy) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int sent = recv(fd, request, sizeof request, 0) > 0 ? find_answer(pool->rig, fd) : 0;
    close(fd);
    return sent;
}

APP int take_from_queue(struct pool *pool) {
    pthread_mutex_lock(&pool->lock);
    while (pool->head == pool->tail) pthread_cond_wait(&pool->filled, &pool->lock);
    int fd = pool->queue[pool->head++];
    pthread_mutex_unlock(&pool->lock);
    return fd;
}

static void *worker(void *shared) {
    struct pool *pool = (struct pool *)shared;
    for (;;) serve_request(pool, take_from_queue(pool));
    return NULL;
}

APP int dispatch(const struct rig *r, struct pool *pool) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    if (!r->healthy && !strcmp(r->cause, "unqueued")) return fd;
    pthread_mutex_lock(&pool->lock);
    pool->queue[pool->tail++] = fd;
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    return fd;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    struct pool pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, &r};
    pool.queue = (int *)calloc((size_t)r.connections + WORKERS, sizeof *pool.queue);
    if (!pool.queue) rig_fail("calloc");
    int unqueued = !strcmp(r.cause, "unqueued");
    if (!strcmp(r.cause, "cpu")) setpriority(PRIO_PROCESS, 0, 10);
    pthread_mutex_lock(&database); /* somebody else's transaction */
    for (int i = 0; i < WORKERS; i++) {
        pthread_t thread;
        char name[16];
        if (pthread_create(&thread, NULL, worker, &pool) != 0) rig_fail("pthread_create");
        snprintf(name, sizeof name, "pool-1-thread-%d", i + 1);
        pthread_setname_np(thread, name);
    }
    if (!unqueued) r.served = -WORKERS; /* the clients that stop reading come first and do not get stuck */
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        dispatch(&r, &pool);
    }
}
