#!/bin/bash
case $1 in
start) uwsgi --plugin python3 --http-socket 127.0.0.1:$PORT --chdir $CASE --wsgi-file app.py --need-app --workers 1 --die-on-term & echo $! > pid;;
traffic)
  $PYTHON $LIB/web.py get $PORT 3 /health
  $PYTHON $LIB/hang.py $PORT 5 'GET /job HTTP/1.1\r\nHost: x\r\n\r\n' 0.5 0.2
esac
