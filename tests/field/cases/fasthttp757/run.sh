#!/bin/bash
case $1 in
build) cp $CASE/main.go .; GO111MODULE=off GOPATH=/usr/share/gocode nice -n 19 go build -o gate main.go;;
start) $PYTHON $CASE/backend.py $((PORT+1)) & $BUILD/gate $PORT $((PORT+1)) & echo $! > pid;;
traffic) $PYTHON $LIB/web.py get $PORT 4 /quick; $PYTHON $LIB/hang.py $PORT 9 'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n' 0.4 0.2; for i in 1 2 3 4 5; do  $PYTHON $LIB/web.py get $PORT 1 /quick; sleep 1; done; sleep 20;;
esac
