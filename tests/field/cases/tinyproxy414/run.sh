#!/bin/bash
case $1 in
start)
  cat > tp.conf <<C
User root
Group root
Port $PORT
Listen 127.0.0.1
Timeout 600
Allow 127.0.0.1
MaxClients 100
LogFile "$WORK/tp.log"
C
  $PYTHON $LIB/silent.py $((PORT + 1)) & echo $! > silent.pid
  $PYTHON $LIB/backend.py $((PORT + 2)) 200 20 30 &
  tinyproxy -d -c tp.conf & echo $! > pid;;
traffic)
  $PYTHON $LIB/web.py get $PORT 6 http://127.0.0.1:$((PORT + 2))/
  $PYTHON $LIB/web.py abort $PORT 8 http://127.0.0.1:$((PORT + 1))/slow 1
esac
