import os
from flask import Flask
app = Flask(__name__)


@app.get("/")
def export():
    return b"x" * 30_000_000


app.run("127.0.0.1", int(os.environ["PORT"]), threaded=True)
