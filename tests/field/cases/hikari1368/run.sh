#!/bin/bash
case $1 in
build) javac -cp /usr/share/java/HikariCP.jar:/usr/share/java/hikaricp.jar:/usr/share/java/slf4j-api.jar -d . $CASE/App.java;;
start) $JAVA -cp $BUILD:/usr/share/java/HikariCP.jar:/usr/share/java/hikaricp.jar:/usr/share/java/slf4j-api.jar:/usr/share/java/hsqldb.jar App $PORT & echo $! > pid;;
traffic) $PYTHON $LIB/web.py abort $PORT 12 / 2;;
esac
