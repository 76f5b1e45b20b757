/* eof-ignored, with the handler reached in ways that are hard to follow back.
 * -DDEEP: 25 calls down. -DALLOCA: its frame has a size known at run time only. -DTAIL_CALL: by a jump
 * from a function that is not on the stack then. -DIN_SIGNAL: in a signal handler. -DPLUGIN: in a library
 * that the program loads when it runs (built with -DLIBRARY). */
#include "rig.h"
#include <alloca.h>
#include <dlfcn.h>

#ifndef PLUGIN
APP int handle_client_and_forget(const struct rig *r, int fd) {
#ifdef ALLOCA
    size_t room = 512 + (size_t)r->port % 7;
    char *request = alloca(room);
#else
    char request[1024];
    size_t room = sizeof request;
#endif
    int requests = 0;
    while (recv(fd, request, room, 0) > 0) {
        requests++;
        send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    if (r->healthy) close(fd);
    return requests;
}

#ifdef DEEP
APP int descend(const struct rig *r, int fd, int depth) {
    volatile int below = depth > 0 ? descend(r, fd, depth - 1) : handle_client_and_forget(r, fd);
    return below + 1;
}
#define HANDLE(r, fd) descend(r, fd, 25)
#elif defined(TAIL_CALL)
APP int leave_it_to_the_handler(const struct rig *r, int fd) {
    return handle_client_and_forget(r, fd);
}
#define HANDLE(r, fd) leave_it_to_the_handler(r, fd)
#else
#define HANDLE(r, fd) handle_client_and_forget(r, fd)
#endif

APP int serve_connection(struct rig *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    return HANDLE(r, fd) + 1;
}
#endif

#ifndef LIBRARY
#if defined(PLUGIN)
static int (*serve)(struct rig *);

static void get_ready(void) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
    if (length < 0) rig_fail("/proc/self/exe");
    strcpy(path + length, ".plugin.so");
    void *plugin = dlopen(path, RTLD_NOW);
    if (plugin) *(void **)&serve = dlsym(plugin, "serve_connection");
    if (!serve) rig_fail("dlopen");
}
#elif defined(IN_SIGNAL)
static struct rig *the_rig;

static void on_signal(int signal) {
    the_rig->served += serve_connection(the_rig) + signal > 1 << 20;
}

static void get_ready(void) { signal(SIGUSR1, on_signal); }

static int serve(struct rig *r) {
    the_rig = r;
    return raise(SIGUSR1) + 1;
}
#else
static void get_ready(void) {}
#define serve serve_connection
#endif

int main(int argc, char **argv) {
    struct rig r = rig_options(argc, argv);
    int handled = 0;
    get_ready();
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        handled += serve(&r);
    }
    return handled;
}
#endif
