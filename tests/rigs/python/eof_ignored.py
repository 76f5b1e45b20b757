"""eof-ignored: the handler sees b"" and returns; a registry of sessions keeps the socket."""
import rig

SESSIONS = []


def handle_client_and_forget(connection, healthy):
    while connection.recv(1024):
        connection.sendall(rig.REPLY)
    if healthy:
        connection.close()


def main():
    server = rig.Rig()
    while True:
        server.next()
        connection, _ = server.listener.accept()
        SESSIONS.append(connection)
        handle_client_and_forget(connection, server.healthy)


main()
