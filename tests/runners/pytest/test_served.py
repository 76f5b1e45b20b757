"""A server whose test forgets a connection when LEAK is set."""

import os
import socket
import time

kept = []


def handle_client(listener, client):
    connection, _ = listener.accept()
    client.close()
    assert connection.recv(8) == b""
    return connection


def test_a_client_is_served():
    listener = socket.create_server(("127.0.0.1", 0))
    connection = handle_client(listener, socket.create_connection(listener.getsockname()))
    if "LEAK" in os.environ:
        kept.append(connection)
    else:
        connection.close()
    listener.close()


def test_that_takes_a_while():
    time.sleep(1.5)
