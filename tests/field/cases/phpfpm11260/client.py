#!/usr/bin/env python3
"""client.py PORT COUNT SCRIPT: FastCGI requests that are given up after a second."""
import socket, struct, sys, time


def record(kind, body):
    return struct.pack(">BBHHBB", 1, kind, 1, len(body), 0, 0) + body


def pair(name, value):
    return bytes([len(name), len(value)]) + name + value


parameters = pair(b"SCRIPT_FILENAME", sys.argv[3].encode()) + pair(b"REQUEST_METHOD", b"GET")
held = []
for _ in range(int(sys.argv[2])):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.sendall(record(1, struct.pack(">HB5x", 1, 0)) + record(4, parameters) + record(4, b"") + record(5, b""))
    held.append(s)
    time.sleep(0.05)
time.sleep(1)
for s in held:
    s.close()
