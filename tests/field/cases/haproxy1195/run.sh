#!/bin/bash
case $1 in
start)
  cat > haproxy.cfg <<C
global
  nbthread 1
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend web
  bind 127.0.0.1:$PORT
  use_backend static if { path /health }
  default_backend app
backend static
  http-request return status 200 content-type text/plain string ok
backend app
  server one 127.0.0.1:$((PORT + 1))
C
  $PYTHON $LIB/silent.py $((PORT + 1)) &
  haproxy -db -f haproxy.cfg & echo $! > pid;;
traffic)
  $PYTHON $LIB/web.py get $PORT 3 /health
  $PYTHON $LIB/hang.py $PORT 10 'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n' 0.4 0.1
esac
