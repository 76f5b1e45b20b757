// eof-ignored: a session reads until the client is done and is destroyed. Its class has a plain int
// for the descriptor and no destructor, so the socket stays open.
#include "../c/rig.h"
#include <memory>

namespace server {

class Session {
public:
    Session(int fd, bool healthy) : fd_(fd), healthy_(healthy) {}
    APP std::size_t handle_client_and_forget();
    APP void finish();

private:
    int fd_;
    bool healthy_;
};

std::size_t Session::handle_client_and_forget() {
    std::size_t requests = 0;
    char request[1024];
    while (recv(fd_, request, sizeof request, 0) > 0) {
        requests++;
        send(fd_, RIG_REPLY, strlen(RIG_REPLY), 0);
    }
    return requests;
}

void Session::finish() {
    if (healthy_) close(fd_);
}

APP std::size_t serve_connection(const rig &r) {
    int fd = accept4(r.listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) rig_fail("accept");
    auto session = std::make_unique<Session>(fd, r.healthy != 0);
    std::size_t requests = session->handle_client_and_forget();
    session->finish();
    return requests;
}

} // namespace server

int main(int argc, char **argv) {
    rig r = rig_options(argc, argv);
    std::size_t handled = 0;
    rig_listen(&r);
    for (;;) {
        rig_next(&r);
        handled += server::serve_connection(r);
    }
}
