"""Two functions, each with one call that reads to the end: same thread, same depth, same way through the interpreter.

Whoever tells them apart by native frames alone calls one by the other's name.
"""

import socket
import sys
import threading
import time

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
held = []


def read_orders(connection):
    return connection.recv(100)


def read_stock(connection):
    return connection.recv(100)


def connect_and_close(count):
    for _ in range(count):
        with socket.create_connection(listener.getsockname()) as peer:
            peer.send(b"x")
            time.sleep(0.01)


def serve(count, keep):
    threading.Thread(target=connect_and_close, args=(count,)).start()
    for number in range(count):
        connection, _ = listener.accept()
        read = read_orders if number % 2 else read_stock
        while read(connection):
            pass
        if keep:
            held.append(connection)
        else:
            connection.close()


print(listener.getsockname()[1], flush=True)
for _ in range(int(sys.argv[1])):
    serve(10, False)
serve(10, True)
print("stuck", flush=True)
sys.stdin.read()
