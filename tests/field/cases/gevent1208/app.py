from gevent import monkey; monkey.patch_all()
import os
from flask import Flask, Response
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue

app = Flask(__name__)
news = Queue()


@app.route("/health")
def health():
    return "ok"


@app.route("/events")
def stream():
    def events():
        yield "data: hello\n\n"
        while True:
            yield f"data: {news.get()}\n\n"
    return Response(events(), content_type="text/event-stream")


WSGIServer(("127.0.0.1", int(os.environ["PORT"])), app, log=None).serve_forever()
