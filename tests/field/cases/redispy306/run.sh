#!/bin/bash
case $1 in
start)
  redis-server --port $((PORT + 1)) --bind 127.0.0.1 --save '' --appendonly no --timeout 3 --dir $WORK &
  sleep 1; $PY $CASE/app.py & echo $! > pid;;
traffic) $PYTHON $LIB/hang.py $PORT 1 '' 0.2 0.1
esac
