#!/bin/bash
case $1 in
start) $PYTHON $LIB/backend.py $((PORT + 1)) 200 400000 2 &
  $PY $CASE/app.py $PORT & echo $! > pid;;
traffic) $PYTHON $LIB/web.py get $PORT 8 /;;
esac
