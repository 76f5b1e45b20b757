#!/bin/bash
case $1 in
build) javac -cp /usr/share/java/okhttp.jar:/usr/share/java/okio.jar -d . $CASE/App.java;;
start) $PYTHON $LIB/backend.py $((PORT + 1)) 200 100000 2 &
  $JAVA -cp $BUILD:/usr/share/java/okhttp.jar:/usr/share/java/okio.jar App $PORT & echo $! > pid;;
traffic) $PYTHON $LIB/web.py get $PORT 8 /;;
esac
