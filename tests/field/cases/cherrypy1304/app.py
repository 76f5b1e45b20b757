import os, urllib.request
import cherrypy

PORT = int(os.environ["PORT"])


class Shop:
    @cherrypy.expose
    def index(self):
        return self.ask_backend()

    @cherrypy.expose
    def health(self):
        return "ok"

    def ask_backend(self):
        return urllib.request.urlopen(f"http://127.0.0.1:{PORT + 1}/prices").read()


cherrypy.config.update({"server.socket_port": PORT, "server.socket_host": "127.0.0.1", "server.thread_pool": 4,
                        "engine.autoreload.on": False, "log.screen": False})
cherrypy.quickstart(Shop())
