#!/usr/bin/env python3
"""client.py PORT COUNT: clients that say they have nothing more to send, do not read the answer, and stay."""
import socket, sys, time
held = []
for _ in range(int(sys.argv[2])):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    s.shutdown(socket.SHUT_WR)
    held.append(s)
    time.sleep(0.05)
time.sleep(60)
