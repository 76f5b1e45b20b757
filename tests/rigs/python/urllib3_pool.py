"""idle-pool: urllib3's pool as most Python programs have it, through requests or a cloud SDK. It
keeps every connection for the next request; the server closes idle ones earlier, and urllib3 looks
at a connection only when it is wanted again. The healthy twin throws its pool away when it has
nothing more to ask."""
import urllib3

import rig


def ask_all(pool, connections):
    """As many requests at once as there are to be connections."""
    answers = [pool.request("GET", "/item", preload_content=False) for _ in range(connections)]
    for answer in answers:
        answer.read()
        answer.release_conn()


def main():
    client = rig.Rig(client=True)
    pool = urllib3.HTTPConnectionPool("127.0.0.1", client.port, maxsize=client.connections)
    ask_all(pool, client.connections)
    if client.healthy:
        pool.close()
    client.served = client.connections
    client.next()


main()
