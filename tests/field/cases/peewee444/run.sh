#!/bin/bash
B=/usr/lib/postgresql/15/bin
case $1 in
start)
  chmod 755 $WORK; mkdir data; chown postgres data
  setpriv --reuid postgres --regid postgres --clear-groups $B/initdb -D data -A trust >/dev/null
  setpriv --reuid postgres --regid postgres --clear-groups $B/postgres -D data -p $((PORT + 1)) -k '' -h 127.0.0.1 -c idle_session_timeout=2s &
  sleep 3; $PY $CASE/app.py & echo $! > pid;;
traffic) $PYTHON $LIB/hang.py $PORT 1 '' 0.2 0.1
esac
