"""worker-starvation: the main thread accepts and submits to a pool of threads, all of which sit in a
write to a client that has stopped reading. Later clients queue behind them and leave; their request
is never read. The healthy twin gives up on such a client."""
from concurrent.futures import ThreadPoolExecutor

import rig

WORKERS = 5
PAGE = b"metric 1\n" * (8 << 20)


def serve_request(connection, healthy):
    with connection:
        if healthy:
            connection.settimeout(0.2)
        try:
            if connection.recv(1024):
                connection.sendall(PAGE)
        except OSError:
            pass


def main():
    server = rig.Rig()
    # The clients that stop reading come first and do not get stuck.
    server.served = -WORKERS
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="pool")
    while True:
        server.next()
        connection, _ = server.listener.accept()
        pool.submit(serve_request, connection, server.healthy)


main()
