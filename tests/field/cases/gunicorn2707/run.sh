#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/silent.py $((PORT + 1)) &
  $VENV/bin/gunicorn -w 2 -t 300 -b 127.0.0.1:$PORT --chdir $CASE app:application & echo $! > pid;;
traffic)
  $PYTHON $LIB/web.py get $PORT 4 /health
  $PYTHON $LIB/hang.py $PORT 12 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' 0.5 0.1
esac
