#!/bin/bash
case $1 in
start) $PY $CASE/app.py & echo $! > pid;;
traffic) $PYTHON $LIB/web.py abort $PORT 10 / 1
esac
