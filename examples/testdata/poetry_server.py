"""The slow poetry server: argv is the port, a file, bytes at a time, seconds between."""

import sys

from serving import serve
from twisted.internet import reactor
from twisted.internet.protocol import Protocol

poem = open(sys.argv[2], "rb").read()
num_bytes, delay = int(sys.argv[3]), float(sys.argv[4])


class SlowPoetry(Protocol):
    at = 0

    def connectionMade(self):
        self.send()

    def send(self):
        if self.at >= len(poem):
            self.transport.loseConnection()
            return
        self.transport.write(poem[self.at : self.at + num_bytes])
        self.at += num_bytes
        reactor.callLater(delay, self.send)


serve(SlowPoetry)
