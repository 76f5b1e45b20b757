import socket, struct, sys, time
for _ in range(int(sys.argv[2])):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    body = struct.pack("!I", 196608) + b"user\0u\0database\0x\0\0"
    s.sendall(struct.pack("!I", len(body) + 4) + body)
    time.sleep(.5)
    s.close()
    time.sleep(.1)
