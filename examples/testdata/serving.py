"""Serves a protocol on a port: the one in argv[1], or a free one, which is printed."""

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory


def serve(protocol):
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    port = reactor.listenTCP(int((sys.argv[1:] or ["0"])[0]), factory, interface="127.0.0.1")
    print("listening on", port.getHost().port, flush=True)
    reactor.run()
