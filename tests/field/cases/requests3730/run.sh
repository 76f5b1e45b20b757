#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/silent.py $((PORT + 1)) &
  $PY $CASE/app.py & echo $! > pid;;
traffic)
  $PYTHON - <<'P'
import os, socket, time
at = ("127.0.0.1", int(os.environ["PORT"]))
def ask(path):
    s = socket.create_connection(at); s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()); return s
kept = []
for _ in range(4):
    s = ask("/health"); s.recv(4096); kept.append(s)
first = ask("/metrics"); time.sleep(.5)
late = [ask("/health") for _ in range(7)]; time.sleep(.5)
for s in [first, *kept, *late]: s.close(); time.sleep(.05)
time.sleep(90)
P
esac
