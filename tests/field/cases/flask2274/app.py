import os, threading
from flask import Flask
app, lock = Flask(__name__), threading.Lock()
lock.acquire()


@app.get("/")
def report():
    with lock:
        return "ok"


app.run("127.0.0.1", int(os.environ["PORT"]), threaded=True)
