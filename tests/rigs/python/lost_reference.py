"""lost-reference: the handler answers and detaches the descriptor; nobody owns it afterwards."""
import rig


def handle_client_and_forget(connection, healthy):
    connection.recv(1024)
    connection.sendall(rig.REPLY)
    if healthy:
        connection.close()
    else:
        connection.detach()


def main():
    server = rig.Rig()
    while True:
        server.next()
        connection, _ = server.listener.accept()
        handle_client_and_forget(connection, server.healthy)


main()
