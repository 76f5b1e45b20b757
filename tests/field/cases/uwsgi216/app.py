import subprocess


def application(environ, start_response):
    if environ["PATH_INFO"] == "/job":
        subprocess.Popen(["sleep", "600"], close_fds=False)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]
