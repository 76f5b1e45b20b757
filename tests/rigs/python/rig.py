"""What the Python rigs share: options, the listener, telling the harness when the leak is
complete, and leaving when stdin ends. No client socket is touched here."""
import argparse
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

CLOSE_WAIT = 8
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# Columns of /proc/net/tcp.
LOCAL, REMOTE = 1, 2


class Rig:
    def __init__(self, client=False):
        """A client connects to --port, others listen there."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int, default=0)
        parser.add_argument("--upstream", type=int, default=0)
        parser.add_argument("--connections", type=int, default=5)
        parser.add_argument("--cause", default="")
        parser.add_argument("--healthy", action="store_true")
        options = parser.parse_args()
        self.healthy, self.connections = options.healthy, options.connections
        self.cause = options.cause
        self.port, self.upstream, self.end = options.port, options.upstream, REMOTE
        self.listener = None
        if not client:
            self.listener = socket.create_server(("127.0.0.1", options.port), backlog=4096)
            self.port, self.end = self.listener.getsockname()[1], LOCAL
        self.served, self.reported = 0, False
        self.be_there_for_a_while()
        print("ready", self.port, flush=True)

    def be_there_for_a_while(self):
        """As a service is: its interpreter is known by then, for it has used a socket."""
        with socket.create_server(("127.0.0.1", 0)) as own:
            socket.create_connection(own.getsockname()).close()
        time.sleep(1)

    def next(self):
        """Returns when a client waits to be accepted."""
        while True:
            timeout = None if self.reported else 0.02
            wanted = [sys.stdin, self.listener] if self.listener else [sys.stdin]
            ready, _, _ = select.select(wanted, [], [], timeout)
            if sys.stdin in ready:
                os._exit(0)
            if self.listener in ready:
                self.served += 1
                return
            if not self.reported:
                self.report()

    def report_aside(self):
        """For a main thread that gets stuck itself: the same, from a thread of its own."""
        def watch():
            while not self.reported:
                if select.select([sys.stdin], [], [], 0.02)[0]:
                    os._exit(0)
                self.report()
            sys.stdin.read()
            os._exit(0)
        threading.Thread(target=watch, daemon=True).start()

    def report_between(self):
        """The same for one that computes, in the main thread itself: no other thread could accept."""
        def look(*_):
            if select.select([sys.stdin], [], [], 0)[0]:
                os._exit(0)
            if not self.reported:
                self.report()
        signal.signal(signal.SIGALRM, look)
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)

    def report(self):
        wanted = 0 if self.healthy else self.connections
        if self.served >= self.connections and self.stuck() == wanted:
            self.reported = True
            print("leaking", wanted, flush=True)

    def wait_until_stuck(self, count):
        """For a leak that comes in waves."""
        while self.stuck() != count:
            time.sleep(0.02)

    def stuck(self):
        port, found = struct.pack(">H", self.port).hex().upper(), 0
        with open("/proc/self/net/tcp", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                found += fields[self.end].endswith(":" + port) and int(fields[3], 16) == CLOSE_WAIT
        return found
