import os, socket, threading, time
import paho.mqtt.client as mqtt
port = int(os.environ["PORT"])
alarms = []
def report_alarm(n):
    c = mqtt.Client(f"alarm-{n}")
    c.connect("127.0.0.1", port + 1, keepalive=5)
    c.publish("alarms", str(n), qos=1)
    alarms.append(c)
def count_ok(n):
    c = mqtt.Client(f"ok-{n}"); c.connect("127.0.0.1", port + 1, keepalive=5); c.loop_start(); c.publish("ok", "1", qos=1).wait_for_publish(); c.disconnect(); c.loop_stop()
l = socket.create_server(("127.0.0.1", port))
while not os.path.exists("go"): time.sleep(0.1)
for n in range(9):
    report_alarm(n); count_ok(n); time.sleep(0.4)
while True: time.sleep(1); count_ok(99)
