"""idle-pool: a pool made by hand keeps its connections for the next request, while the server closes
idle ones. The healthy twin looks whether they are still good, and throws the others away."""
import socket

import rig


class Pool:
    def __init__(self, port):
        self.port, self.idle = port, []

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def request(self, connection):
        connection.sendall(b"GET /item HTTP/1.1\r\nHost: pool\r\n\r\n")
        return connection.recv(1024)

    def warm_up(self, size):
        for _ in range(size):
            connection = self.connect()
            self.request(connection)
            self.idle.append(connection)

    def evict_dead(self):
        for connection in self.idle:
            if not connection.recv(1, socket.MSG_PEEK):
                connection.close()
        self.idle = [connection for connection in self.idle if connection.fileno() >= 0]


def main():
    client = rig.Rig(client=True)
    pool = Pool(client.port)
    pool.warm_up(client.connections)
    if client.healthy:
        pool.evict_dead()
    client.served = client.connections
    client.next()


main()
