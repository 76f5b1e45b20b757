#include <httplib.h>
#include <cstdlib>
#include <netinet/in.h>
#include <string>
static int backend;
__attribute__((noinline)) std::string ask_backend() {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{}; a.sin_family = AF_INET; a.sin_port = htons(backend); a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(s, (sockaddr *)&a, sizeof a)) return "";
  char b[512]; const char q[] = "GET / HTTP/1.0\r\n\r\n";
  send(s, q, sizeof q - 1, 0);
  ssize_t n = recv(s, b, sizeof b, 0);
  close(s);
  return std::string(b, n > 0 ? n : 0);
}
int main(int, char **v) {
  backend = atoi(v[1]) + 1;
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(4); };
  server.Get("/", [](const httplib::Request &, httplib::Response &r) { r.set_content(ask_backend(), "text/plain"); });
  server.listen("127.0.0.1", atoi(v[1]));
}
