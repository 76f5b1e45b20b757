import os, socket, threading
from playhouse.pool import PooledPostgresqlDatabase

PORT = int(os.environ["PORT"])
db = PooledPostgresqlDatabase("postgres", user="postgres", host="127.0.0.1", port=PORT + 1, max_connections=8, stale_timeout=3600)
together = threading.Barrier(6)


def load_report():
    with db.connection_context():
        together.wait()
        db.execute_sql("SELECT pg_sleep(0.2)").fetchall()


door = socket.create_server(("127.0.0.1", PORT))
while True:
    door.accept()[0].close()
    threads = [threading.Thread(target=load_report) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
