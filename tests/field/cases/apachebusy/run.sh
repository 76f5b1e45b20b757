#!/bin/bash
case $1 in
start)
  $PYTHON $LIB/silent.py $((PORT + 1)) &
  cat > httpd.conf <<C
ServerRoot $WORK
PidFile $WORK/httpd.pid
ServerName localhost
Listen 127.0.0.1:$PORT
LoadModule mpm_${MPM}_module /usr/lib/apache2/modules/mod_mpm_$MPM.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ErrorLog $WORK/error.log
User www-data
Group www-data
<IfModule mpm_prefork_module>
StartServers 3
MinSpareServers 1
MaxSpareServers 3
</IfModule>
<IfModule mpm_event_module>
StartServers 1
ServerLimit 1
ThreadLimit 3
ThreadsPerChild 3
MinSpareThreads 1
MaxSpareThreads 3
</IfModule>
MaxRequestWorkers 3
Timeout 600
ProxyPass / http://127.0.0.1:$((PORT + 1))/
C
  /usr/sbin/apache2 -DFOREGROUND -f $WORK/httpd.conf & echo $! > pid;;
traffic) $PYTHON $LIB/web.py abort $PORT 12 / 1
esac
