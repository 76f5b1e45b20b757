#!/bin/bash
case $1 in
start)
  mkfifo fifo; sleep 100 3<> fifo & sleep 0.2
  $PY $CASE/app.py 2> fifo & echo $! > pid;;
traffic) $PYTHON $LIB/hang.py $PORT 8 'hello\n' 0.2 0.1
esac
