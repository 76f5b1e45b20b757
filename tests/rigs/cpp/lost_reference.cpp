// lost-reference: a thread answers its client and ends. The session would close its socket in the
// destructor, but its own callback keeps it alive: a cycle of shared pointers nobody can reach.
#include "../c/rig.h"
#include <functional>
#include <memory>
#include <thread>

namespace server {

struct Session {
    explicit Session(int client) : fd(client) {}
    ~Session() { close(fd); }
    APP std::size_t answer_and_forget();

    int fd;
    std::function<void()> on_timeout;
};

std::size_t Session::answer_and_forget() {
    char request[1024];
    ssize_t got = recv(fd, request, sizeof request, 0);
    ssize_t sent = send(fd, RIG_REPLY, strlen(RIG_REPLY), 0);
    return static_cast<std::size_t>(got + sent);
}

APP std::size_t run_session(int fd, bool healthy) {
    auto session = std::make_shared<Session>(fd);
    std::weak_ptr<Session> observer = session;
    if (healthy)
        session->on_timeout = [observer] { if (auto alive = observer.lock()) alive->fd = -1; };
    else
        session->on_timeout = [session] { session->fd = -1; };
    return session->answer_and_forget();
}

} // namespace server

int main(int argc, char **argv) {
    rig r = rig_options(argc, argv);
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        int fd = accept4(r.listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) rig_fail("accept");
        std::thread(server::run_session, fd, r.healthy != 0).detach();
    }
}
