"""client.py PORT COUNT: one session locks a row and goes on living; COUNT others ask for it, and leave after 1.5 s."""
import socket, sys, threading, time
import pymysql

port, count = int(sys.argv[1]), int(sys.argv[2])
holder = pymysql.connect(host="127.0.0.1", port=port, user="root")
cursor = holder.cursor()
for statement in (
    "create database t",
    "create table t.x (a int primary key) engine=innodb",
    "insert into t.x values (1)",
    "commit",
    "set global innodb_lock_wait_timeout=1000",
    "begin",
    "select * from t.x where a=1 for update",
):
    cursor.execute(statement)
sessions = []


def wait():
    session = pymysql.connect(host="127.0.0.1", port=port, user="root")
    sessions.append(session)
    try:
        session.cursor().execute("select * from t.x where a=1 for update")
    except pymysql.Error:
        pass


for _ in range(count):
    threading.Thread(target=wait, daemon=True).start()
time.sleep(1.5)
for session in sessions:
    session._sock.shutdown(socket.SHUT_RDWR)
time.sleep(60)
