import os, socketserver, sys


def log(line):
    sys.stderr.write(repr(line) + "x" * 70000)


class H(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        log(line)
        self.wfile.write(b"ok\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


Server(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
