"""What the Python rigs share: options, the listener, telling the harness when the leak is
complete, and leaving when stdin ends. No client socket is touched here."""
import argparse
import os
import select
import socket
import struct
import sys

CLOSE_WAIT = 8


class Rig:
    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int, default=0)
        parser.add_argument("--connections", type=int, default=5)
        parser.add_argument("--healthy", action="store_true")
        options = parser.parse_args()
        self.healthy, self.connections = options.healthy, options.connections
        self.listener = socket.create_server(("127.0.0.1", options.port), backlog=4096)
        self.served, self.reported = 0, False
        print("ready", self.listener.getsockname()[1], flush=True)

    def next(self):
        """Returns when a client waits to be accepted."""
        while True:
            timeout = None if self.reported else 0.02
            ready, _, _ = select.select([sys.stdin, self.listener], [], [], timeout)
            if sys.stdin in ready:
                os._exit(0)
            if self.listener in ready:
                self.served += 1
                return
            if not self.reported:
                self.report()

    def report(self):
        wanted = 0 if self.healthy else self.connections
        if self.served >= self.connections and self.stuck() == wanted:
            self.reported = True
            print("leaking", wanted, flush=True)

    def stuck(self):
        port, found = struct.pack(">H", self.listener.getsockname()[1]).hex().upper(), 0
        with open("/proc/self/net/tcp", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                found += fields[1].endswith(":" + port) and int(fields[3], 16) == CLOSE_WAIT
        return found
