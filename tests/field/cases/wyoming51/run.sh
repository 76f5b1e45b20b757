#!/bin/bash
case $1 in
start) $PY $CASE/server.py & echo $! > pid;;
traffic) $PYTHON $LIB/hang.py $PORT 20 '{"type": "describe"}\n' 0.3 0.1
esac
