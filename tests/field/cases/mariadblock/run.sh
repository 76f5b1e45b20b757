#!/bin/bash
case $1 in
start)
  mkdir data
  mysql_install_db --no-defaults --user=root --datadir=$WORK/data --auth-root-authentication-method=normal > /dev/null
  mariadbd --no-defaults --user=root --datadir=$WORK/data --port=$PORT --bind-address=127.0.0.1 --socket=$WORK/data/s --skip-grant-tables & echo $! > pid;;
traffic) $PY $CASE/client.py $PORT 6
esac
