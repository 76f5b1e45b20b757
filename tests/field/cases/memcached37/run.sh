#!/bin/bash
case $1 in
start) memcached -u root -l 127.0.0.1 -p $PORT -U 0 -t 1 -c 60 -o no_maxconns_fast & echo $! > pid;;
traffic)
  $PYTHON - <<'P'
import os, socket, time
at = ("127.0.0.1", int(os.environ["PORT"]))
kept = []
for _ in range(64):
    s = socket.create_connection(at); s.settimeout(.2); s.sendall(b"version\r\n")
    try: s.recv(100)
    except OSError: pass
    kept.append(s)
late = []
for _ in range(8):
    s = socket.create_connection(at); s.sendall(b"version\r\n"); late.append(s); time.sleep(.1)
for s in late: s.close()
time.sleep(90)
P
esac
