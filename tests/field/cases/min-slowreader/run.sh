#!/bin/bash
case $1 in
start) $PY $CASE/app.py & echo $! > pid;;
traffic) $PYTHON $CASE/client.py $PORT 6
esac
