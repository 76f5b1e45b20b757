import os
import requests
import tornado.ioloop, tornado.web

PORT = int(os.environ["PORT"])


class Health(tornado.web.RequestHandler):
    def get(self):
        self.write("ok")


class Metrics(tornado.web.RequestHandler):
    def get(self):
        self.write(self.ask_backend())

    def ask_backend(self):
        return requests.get(f"http://127.0.0.1:{PORT + 1}/metrics").text


tornado.web.Application([("/health", Health), ("/metrics", Metrics)]).listen(PORT, "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
