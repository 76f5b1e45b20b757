import os, requests
from flask import Flask
app, session, kept, port = Flask(__name__), requests.Session(), [], int(os.environ["PORT"])


@app.get("/")
def check_stock():
    response = session.get(f"http://127.0.0.1:{port + 1}/", stream=True)
    kept.append(response)
    return str(response.status_code)


app.run("127.0.0.1", port, threaded=True)
