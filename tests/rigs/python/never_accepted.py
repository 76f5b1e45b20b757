"""never-accepted: a server with one thread, which after its first client tells a service behind it,
and that one is silent; with --cause cpu it computes for ever. Clients queue up in the kernel, give up
and close."""
import os
import socket

import rig


def tell_upstream(port):
    with socket.create_connection(("127.0.0.1", port)) as upstream:
        upstream.sendall(b"one more\r\n")
        upstream.recv(1)


def compute_total():
    total = 0
    while total >= 0:
        total = (total * 31 + 7) % 1000003
    return total


def get_on(server):
    if server.cause == "cpu":
        compute_total()
    else:
        tell_upstream(server.upstream)


def serve_client(server):
    connection, _ = server.listener.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(rig.REPLY)


def main():
    server = rig.Rig()
    if server.cause == "cpu":
        os.nice(19)
        server.report_between()
    else:
        server.report_aside()
    # Those in the queue are never counted as served; a healthy server has one client more.
    server.served = -1 if server.healthy else server.connections
    while True:
        serve_client(server)
        server.served += 1
        if not server.healthy:
            get_on(server)


main()
