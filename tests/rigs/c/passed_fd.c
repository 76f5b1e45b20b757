/* A connection handed to another process over a unix socket (SCM_RIGHTS), by --cause:
 * in-flight: sent, closed here, and never received, so that no process at all holds it;
 * received: the receiver takes it, answers, and forgets it. */
#include "rig.h"

static pid_t receiver;

static void stop_receiver(void) {
    if (receiver > 0) kill(receiver, SIGKILL);
}

APP int pass_on(int channel, int fd) {
    char byte = 'c', control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    memset(control, 0, sizeof control);
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    if (sendmsg(channel, &message, 0) < 0) rig_fail("sendmsg");
    return close(fd);
}

APP int take_over(int channel) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(channel, &message, 0) <= 0) exit(0);
    int fd = -1;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights) memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    return fd;
}

APP int answer_and_forget(const struct rig *r, int fd) {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    ssize_t sent = send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    if (r->healthy) close(fd);
    return (int)(got + sent);
}

APP int receive_loop(struct rig *r, int channel) {
    int work = 0;
    for (;;) {
        rig_wait(r, channel);
        work += answer_and_forget(r, take_over(channel));
    }
    return work;
}

APP int serve_connection(const struct rig *r, int channel) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    return pass_on(channel, fd);
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int channel[2], keep = strcmp(r.cause, "in-flight") == 0 && !r.healthy;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) rig_fail("socketpair");
    if (keep) r.count = rig_count_on_port; /* nobody holds what is in flight */
    rig_listen(&r);
    fflush(stdout);
    if (!keep) {
        pid_t parent = getpid();
        receiver = fork();
        if (receiver < 0) rig_fail("fork");
        if (receiver == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) _exit(0);
            close(r.listener);
            printf("helper %d\n", (int)getpid());
            exit(receive_loop(&r, channel[1]));
        }
        atexit(stop_receiver);
        r.reported = 1; /* the receiver is the one that knows */
    }
    for (;;) {
        rig_next(&r);
        serve_connection(&r, channel[0]);
    }
}
