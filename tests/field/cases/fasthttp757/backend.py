import socket, sys, threading
def serve(c):
    got = b""
    while b"\r\n\r\n" not in got:
        d = c.recv(4096)
        if not d: return c.close()
        got += d
    if b"/slow" in got:
        held.append(c); return          # never answers
    if b"/ok" in got:
        c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while c.recv(4096): pass
        return c.close()
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n"); c.close()
held = []
l = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=100)
while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
