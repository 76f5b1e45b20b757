import os, urllib.request


def ask_backend():
    return urllib.request.urlopen(f"http://127.0.0.1:{int(os.environ['PORT']) + 1}/prices").read()


def application(environ, start_response):
    body = b"ok" if environ["PATH_INFO"] == "/health" else ask_backend()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
