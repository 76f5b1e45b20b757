"""select-limit: a loop of select() in a process with many open files. A descriptor of 1024 or above
makes select() fail, so the loop leaves such clients out of what it watches. The healthy twin closes
at once what it cannot watch."""
import os
import resource
import select
import sys

import rig

FD_SETSIZE = 1024


def open_many_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while os.open(os.devnull, os.O_RDONLY) < FD_SETSIZE - 1:
        pass


def serve_request(connection):
    if connection.recv(1024):
        connection.sendall(rig.REPLY)
    else:
        connection.close()


def select_loop(server):
    clients = []
    while True:
        watched = [fd for fd in [sys.stdin, server.listener, *clients] if fd.fileno() < FD_SETSIZE]
        ready, _, _ = select.select(watched, [], [], None if server.reported else 0.02)
        if sys.stdin in ready:
            os._exit(0)
        for connection in set(ready) & set(clients):
            serve_request(connection)
        if server.listener in ready:
            connection, _ = server.listener.accept()
            server.served += 1
            clients.append(connection)
            if server.healthy and connection.fileno() >= FD_SETSIZE:
                connection.close()
        clients = [connection for connection in clients if connection.fileno() >= 0]
        if not server.reported:
            server.report()


def main():
    server = rig.Rig()
    open_many_files()
    select_loop(server)


main()
