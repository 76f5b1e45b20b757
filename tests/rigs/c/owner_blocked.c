/* owner-blocked: one thread a connection; each reads its request and then waits for a lock that is
 * never released, so that nobody is there to see its client leave. */
#include "rig.h"
#include <pthread.h>

static pthread_mutex_t database = PTHREAD_MUTEX_INITIALIZER;

struct job {
    int fd, healthy;
};

APP int query_database(const struct job *job) {
    if (job->healthy) return 0;
    pthread_mutex_lock(&database);
    pthread_mutex_unlock(&database);
    return job->fd;
}

APP int handle_client(const struct job *job) {
    char request[1024];
    ssize_t got = recv(job->fd, request, sizeof request, 0);
    int answer = query_database(job);
    send(job->fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    return (int)got + answer;
}

static void *connection(void *start) {
    struct job *job = (struct job *)start;
    handle_client(job);
    close(job->fd);
    free(job);
    return NULL;
}

APP int serve_connection(const struct rig *r) {
    struct job *job = (struct job *)malloc(sizeof *job);
    pthread_t thread;
    if (!job) rig_fail("malloc");
    job->fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    job->healthy = r->healthy;
    if (job->fd < 0) rig_fail("accept");
    if (pthread_create(&thread, NULL, connection, job) != 0) rig_fail("pthread_create");
    return pthread_detach(thread);
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    pthread_mutex_lock(&database); /* somebody else's transaction */
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        serve_connection(&r);
    }
}
