import os, socket, threading
import redis

pool = redis.ConnectionPool(host="127.0.0.1", port=int(os.environ["PORT"]) + 1, max_connections=8)
together = threading.Barrier(8)


def count_visit():
    client = redis.Redis(connection_pool=pool)
    together.wait()
    client.eval("local t = redis.call('time')[1]; while redis.call('time')[1] - t < 1 do break end; return 1", 0)
    client.blpop("nothing", 1)


door = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    door.accept()[0].close()
    threads = [threading.Thread(target=count_visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
