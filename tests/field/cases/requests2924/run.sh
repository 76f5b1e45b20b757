#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/backend.py $((PORT + 1)) 200 100000 1 &
  sleep 0.5; $PY $CASE/app.py & echo $! > pid;;
traffic) $PYTHON $LIB/web.py get $PORT 10 /
esac
