"""inherited-fd: a server that forks a worker in the middle of its work. The worker inherits every
connection that is open at that moment; the server answers and closes them, the worker does not know
that it has them. The healthy twin's worker closes what it inherits."""
import os

import rig


def start_worker(server, clients):
    if os.fork():
        return
    server.listener.close()
    server.listener = None
    if server.healthy:
        for connection in clients:
            connection.close()
    print("helper", os.getpid(), flush=True)
    run_background_job(server)


def run_background_job(server):
    """What the worker does for a living: nothing that concerns these connections."""
    server.next()


def answer_and_close(connection):
    connection.recv(1024)
    connection.sendall(rig.REPLY)
    connection.close()


def main():
    server = rig.Rig()
    clients = []
    while len(clients) < server.connections:
        server.next()
        clients.append(server.listener.accept()[0])
    start_worker(server, clients)
    for connection in clients:
        answer_and_close(connection)
    server.reported = True  # the worker is the one that knows
    server.next()


main()
