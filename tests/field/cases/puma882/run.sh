#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/silent.py $((PORT + 1)) &
  puma -t 3:3 -b tcp://127.0.0.1:$PORT $CASE/config.ru & echo $! > pid;;
traffic)
  $PYTHON $LIB/web.py get $PORT 3 /health
  $PYTHON $LIB/hang.py $PORT 12 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' 0.5 0.1
esac
