/* never-read: the dispatcher accepts, finds no room in its queue, and drops the connection on the
 * floor: no read, no epoll, no close. */
#include "rig.h"

struct queue {
    int room, dropped;
};

APP int accept_and_drop(const struct rig *r, struct queue *queue) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    if (queue->room == 0) {
        queue->dropped++;
        if (r->healthy) close(fd);
        return -1;
    }
    return fd;
}

APP int dispatch(const struct rig *r, struct queue *queue) {
    int fd = accept_and_drop(r, queue);
    return fd < 0 ? queue->dropped : fd;
}

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    struct queue queue = {0, 0};
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        if (dispatch(&r, &queue) < 0) return 1;
    }
}
