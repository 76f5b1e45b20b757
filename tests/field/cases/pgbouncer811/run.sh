#!/bin/bash
case $1 in
start) $PYTHON $LIB/silent.py $((PORT + 1)) &
  chmod 777 .
  cat > b.ini <<C
[databases]
x = user=user host=127.0.0.1 port=$((PORT + 1))
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $PORT
auth_type = any
unix_socket_dir =
server_connect_timeout = 3600
query_wait_timeout = 0
client_login_timeout = 0
logfile = $PWD/b.log
C
  setpriv --reuid=65534 --clear-groups pgbouncer b.ini & echo $! > pid;;
traffic) $PYTHON $CASE/c.py $PORT 8;;
esac
