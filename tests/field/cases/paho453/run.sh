#!/bin/bash
case $1 in
start) printf 'listener %s 127.0.0.1\nallow_anonymous true\n' $((PORT+1)) > m.conf; mosquitto -c m.conf & sleep 1; $PY $CASE/app.py & echo $! > pid;;
traffic) touch go; sleep 18;;
esac
