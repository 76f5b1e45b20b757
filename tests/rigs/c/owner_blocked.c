/* owner-blocked: one thread a connection; each reads its request and then never gets on with it, so
 * that nobody is there to see its client leave. By --cause: lock: waits for a lock that is never
 * released; downstream: waits for the answer of a service that is silent; cpu: computes for ever. */
#include "rig.h"
#include <pthread.h>

static pthread_mutex_t database = PTHREAD_MUTEX_INITIALIZER;

struct job {
    const struct rig *rig;
    int fd;
};

APP int query_database(const struct job *job) {
    pthread_mutex_lock(&database);
    pthread_mutex_unlock(&database);
    return job->fd;
}

APP int ask_downstream(const struct job *job) {
    struct sockaddr_in server;
    char answer[1024];
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)job->rig->upstream);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) rig_fail("socket");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) rig_fail("connect");
    send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    ssize_t got = recv(fd, answer, sizeof answer, 0);
    close(fd);
    return (int)got;
}

APP unsigned compute_answer(const struct job *job) {
    /* Volatile, or a loop without an end or an effect may be left out. */
    volatile unsigned answer = (unsigned)job->fd;
    for (;;) answer = answer * 1103515245u + 12345u;
    return answer;
}

APP int find_answer(const struct job *job) {
    if (job->rig->healthy) return 0;
    if (!strcmp(job->rig->cause, "downstream")) return ask_downstream(job);
    if (!strcmp(job->rig->cause, "cpu")) return (int)compute_answer(job);
    return query_database(job);
}

APP int handle_client(const struct job *job) {
    char request[1024];
    ssize_t got = recv(job->fd, request, sizeof request, 0);
    int answer = find_answer(job);
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
    job->rig = r;
    job->fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (job->fd < 0) rig_fail("accept");
    if (pthread_create(&thread, NULL, connection, job) != 0) rig_fail("pthread_create");
    return pthread_detach(thread);
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    pthread_mutex_lock(&database); /* somebody else's transaction */
    if (!strcmp(r.cause, "cpu")) setpriority(PRIO_PROCESS, 0, 19);
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        serve_connection(&r);
    }
}
