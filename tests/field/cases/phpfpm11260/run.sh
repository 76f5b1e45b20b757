#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/silent.py $((PORT + 1)) &
  sed "s/PORT/$((PORT + 1))/" $CASE/ask.php.in > ask.php; chmod 755 $WORK; chmod 644 ask.php
  printf '[global]\nerror_log=%s/error.log\ndaemonize=no\n[www]\nlisten=127.0.0.1:%s\nuser=www-data\ngroup=www-data\npm=static\npm.max_children=2\n' $WORK $PORT > fpm.conf
  php-fpm8.2 -R -F -y fpm.conf & echo $! > pid;;
traffic) $PYTHON $CASE/client.py $PORT 8 $WORK/ask.php
esac
