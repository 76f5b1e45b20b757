#!/bin/bash
case $1 in
start)
  mkdir v; $PYTHON $LIB/silent.py $((PORT + 1)) &
  varnishd -F -n $WORK/v -a 127.0.0.1:$PORT -b 127.0.0.1:$((PORT + 1)) -T none -s malloc,16m -p first_byte_timeout=1000 -j none & echo $! > pid;;
traffic) $PYTHON $LIB/web.py abort $PORT 10 / 1
esac
