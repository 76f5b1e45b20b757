import os
from twisted.internet import protocol, reactor
waiting = []


class Jobs(protocol.Protocol):
    def dataReceived(self, data):
        self.enqueue(data)

    def enqueue(self, data):
        waiting.append((self, data))
        self.transport.pauseProducing()


factory = protocol.Factory()
factory.protocol = Jobs
reactor.listenTCP(int(os.environ["PORT"]), factory, interface="127.0.0.1")
reactor.run()
