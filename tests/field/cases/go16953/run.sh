#!/bin/bash
case $1 in
build) HOME=$BUILD GO111MODULE=off go build -o stock $CASE/main.go;;
start)
  $PYTHON $LIB/backend.py $((PORT + 1)) 200 100000 2 &
  sleep 0.5; $BUILD/stock $PORT & echo $! > pid;;
traffic) $PYTHON $LIB/web.py get $PORT 10 /
esac
