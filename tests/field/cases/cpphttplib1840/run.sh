#!/bin/bash
case $1 in
build) g++ -O1 -g -o app $CASE/app.cpp -I/usr/include -lpthread -lcpp-httplib 2>/dev/null || g++ -O1 -g -o app $CASE/app.cpp -lpthread;;
start) $PYTHON $LIB/silent.py $((PORT + 1)) &
  $BUILD/app $PORT & echo $! > pid;;
traffic) $PYTHON $LIB/web.py abort $PORT 12 / 2;;
esac
