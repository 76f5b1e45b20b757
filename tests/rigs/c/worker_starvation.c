/* worker-starvation: a dispatcher goes on accepting while every worker of the pool sits in a write
 * to a client that has stopped reading. Later clients queue behind them, time out and close; their
 * request is never read. The healthy twin gives up on such a client. */
#include "rig.h"
#include <pthread.h>

enum { WORKERS = 5, CHUNK = 1 << 16, CHUNKS = 1 << 10 };

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    int *queue, head, tail, healthy;
};

APP int write_metrics(int fd) {
    static const char chunk[CHUNK] = "metric 1\n";
    int sent = 0;
    for (int i = 0; i < CHUNKS; i++) {
        if (send(fd, chunk, sizeof chunk, 0) < 0) break;
        sent++;
    }
    return sent;
}

APP int serve_request(const struct pool *pool, int fd) {
    char request[1024];
    struct timeval patience = {0, 200000};
    if (pool->healthy) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int sent = recv(fd, request, sizeof request, 0) > 0 ? write_metrics(fd) : 0;
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
    pthread_mutex_lock(&pool->lock);
    pool->queue[pool->tail++] = fd;
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    return fd;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    struct pool pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, r.healthy};
    pool.queue = (int *)calloc((size_t)r.connections + WORKERS, sizeof *pool.queue);
    if (!pool.queue) rig_fail("calloc");
    for (int i = 0; i < WORKERS; i++) {
        pthread_t thread;
        char name[16];
        if (pthread_create(&thread, NULL, worker, &pool) != 0) rig_fail("pthread_create");
        snprintf(name, sizeof name, "pool-1-thread-%d", i + 1);
        pthread_setname_np(thread, name);
    }
    r.served = -WORKERS; /* the clients that stop reading come first and do not get stuck */
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        dispatch(&r, &pool);
    }
}
