#!/bin/bash
case $1 in
start) $PY $CASE/app.py & echo $! > pid;;
traffic)
  $PYTHON $LIB/web.py get $PORT 3 /health
  $PYTHON $LIB/hang.py $PORT 15 'GET /events HTTP/1.1\r\nHost: x\r\n\r\n' 0.4 0.1
esac
