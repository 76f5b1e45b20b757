# Both ends of every connection in one thread. A line on stdin is a job: "reads N" or "connections N".
import socket
import sys

BATCH = 16384
listen = socket.create_server(("127.0.0.1", 0), backlog=16)


def pair():
    client = socket.create_connection(listen.getsockname())
    return client, listen.accept()[0]


def take(server):
    server.recv(1)


def reads(count):
    while count > 0:
        now = min(count, BATCH)
        client.sendall(b"x" * now)
        for _ in range(now):
            take(server)
        count -= now


def connections(count):
    for _ in range(count):
        near, far = pair()
        near.sendall(b"x")
        take(far)
        near.close()
        far.close()


client, server = pair()
for line in sys.stdin:
    kind, count = line.split()
    (reads if kind == "reads" else connections)(int(count))
    print("done", flush=True)
