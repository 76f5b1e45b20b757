#!/bin/bash
B=/usr/lib/postgresql/15/bin
case $1 in
start)
  chmod 755 $WORK; mkdir data; chown postgres data
  setpriv --reuid postgres --regid postgres --clear-groups $B/initdb -D data -A trust >/dev/null
  setpriv --reuid postgres --regid postgres --clear-groups $B/postgres -D data -p $PORT -k '' -h 127.0.0.1 & echo $! > pid;;
traffic) $PYTHON $LIB/pg.py $PORT 6 'SELECT pg_sleep(600)' 0.3
esac
