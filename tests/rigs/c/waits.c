/* Keeps what it accepted, and has one thread for each way to wait, named after it. Says which descriptor
 * a thread waits for. */
#include "rig.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/wait.h>

static struct rig rig;
static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static volatile int held;

static int says(const char *name, int fd) {
    printf("fd %s %d\n", name, fd);
    return fd;
}

/* A connection to a listener of this process, which never accepts it. */
static int connected(void) {
    static int listener;
    static struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    if (!listener) {
        listener = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) rig_fail("bind");
        if (listen(listener, 64) < 0) rig_fail("listen");
        getsockname(listener, (struct sockaddr *)&address, &length);
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) rig_fail("connect");
    return fd;
}

static void *in_receive(void *fd) { return (void *)recv((int)(long)fd, &rig, 1, 0); }
static void *in_send(void *fd) {
    static char much[1 << 20];
    for (;;)
        if (send((int)(long)fd, much, sizeof much, 0) < 0) rig_fail("send");
    return NULL;
}
static void *in_poll(void *fd) {
    struct pollfd one = {(int)(long)fd, POLLIN, 0};
    return (void *)(long)poll(&one, 1, -1);
}
static void *in_ppoll(void *fd) {
    struct timespec day = {86400, 0};
    struct pollfd two[] = {{eventfd(0, 0), POLLIN, 0}, {(int)(long)fd, POLLIN | POLLOUT | POLLHUP, 0}};
    two[1].events = POLLIN; /* it could be written to at once */
    return (void *)(long)ppoll(two, 2, &day, NULL);
}
static void *in_select(void *fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET((int)(long)fd, &set);
    return (void *)(long)select((int)(long)fd + 1, &set, NULL, NULL, NULL);
}
static void *in_epoll(void *set) {
    struct epoll_event event;
    return (void *)(long)epoll_wait((int)(long)set, &event, 1, -1);
}
static void *in_accept(void *fd) { return (void *)(long)accept((int)(long)fd, NULL, NULL); }
static void *in_pipe(void *fd) { return (void *)read((int)(long)fd, &rig, 1); }
static void *in_owner(void *none) {
    pthread_mutex_lock(&plain);
    pthread_rwlock_wrlock(&shared);
    held = 1;
    for (;;) sleep(3600);
    return none;
}
static void *in_mutex(void *none) { return (void *)(long)pthread_mutex_lock(&plain) + (long)none; }
static void *in_rwlock(void *none) { return (void *)(long)pthread_rwlock_rdlock(&shared) + (long)none; }
static void *in_condition(void *none) {
    pthread_mutex_lock(&other);
    for (;;) pthread_cond_wait(&never, &other);
    return none;
}
static void *in_child(void *none) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    waitpid(child, NULL, 0);
    return none;
}
static void *in_loop(void *none) {
    for (volatile long i = 0;; i++) {}
    return none;
}

static void begin(const char *name, void *(*wait)(void *), int fd) {
    pthread_t thread;
    if (fd >= 0) says(name, fd);
    if (pthread_create(&thread, NULL, wait, (void *)(long)fd)) rig_fail("pthread_create");
    pthread_setname_np(thread, name);
}

int main(int argc, char **argv) {
    rig = rig_options(argc, argv);
    rig_listen(&rig);
    int ends[2], set = epoll_create1(0), watched = connected();
    struct epoll_event event = {EPOLLIN, {.fd = watched}};
    if (pipe(ends) < 0) rig_fail("pipe");
    epoll_ctl(set, EPOLL_CTL_ADD, says("watched", watched), &event);
    begin("w-child", in_child, -1);
    begin("w-owner", in_owner, -1);
    while (!held) usleep(1000);
    begin("w-receive", in_receive, connected());
    begin("w-send", in_send, connected());
    begin("w-poll", in_poll, connected());
    begin("w-ppoll", in_ppoll, connected());
    begin("w-select", in_select, connected());
    begin("w-epoll", in_epoll, set);
    int idle = socket(AF_INET, SOCK_STREAM, 0);
    if (listen(idle, 1) < 0) rig_fail("listen");
    begin("w-accept", in_accept, idle);
    begin("w-pipe", in_pipe, ends[0]);
    begin("w-mutex", in_mutex, -1);
    begin("w-rwlock", in_rwlock, -1);
    begin("w-condition", in_condition, -1);
    begin("w-loop", in_loop, -1);
    for (;;) {
        rig_next(&rig);
        int fd = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) rig_fail("accept");
        if (rig.healthy) close(fd);
    }
}
