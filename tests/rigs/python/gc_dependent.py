"""gc-dependent: a session refers to itself, so that dropping it closes nothing: its socket is closed
when the collector of cycles happens to run, and then all that have gathered are. Two waves of clients
are collected like that; those after them wait for a collection that is far off."""
import gc
import time

import rig

WAVES, WAVE = 2, 5


class Session:
    def __init__(self, connection):
        self.connection = connection
        self.on_done = self.finish

    def finish(self):
        self.connection.close()

    def serve(self):
        self.connection.recv(1024)
        self.connection.sendall(rig.REPLY)


def serve_client(server):
    session = Session(server.listener.accept()[0])
    session.serve()
    if server.healthy:
        session.finish()


def collect_after_a_while(server):
    server.wait_until_stuck(WAVE)
    time.sleep(1.5)
    gc.collect()


def main():
    server = rig.Rig()
    gc.disable()  # how far apart collections are is not left to chance
    server.served = -WAVES * WAVE
    while True:
        server.next()
        serve_client(server)
        if not server.healthy and server.served <= 0 and server.served % WAVE == 0:
            collect_after_a_while(server)


main()
