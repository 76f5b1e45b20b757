#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/silent.py $((PORT + 1)) & echo $! > silent.pid
  UP=$((PORT + 1)) PHP_CLI_SERVER_WORKERS=3 php -S 127.0.0.1:$PORT -d variables_order=EGPCS $CASE/index.php & echo $! > pid;;
traffic) sleep 1; $PYTHON $LIB/web.py get $PORT 12 /ok; $PYTHON $LIB/web.py abort $PORT 8 /work 1
esac
