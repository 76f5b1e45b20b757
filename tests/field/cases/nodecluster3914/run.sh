#!/bin/bash
case $1 in
start) node $CASE/server.js & echo $! > pid;;
traffic) $PYTHON $LIB/web.py get $PORT 6 /; $PYTHON $LIB/web.py abort $PORT 14 /thumb 1
esac
