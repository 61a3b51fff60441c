"""Sum, as Twisted's own example has it: python3 twisted_sum.py HOST:PORT"""

import sys

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import endpoints, reactor
from twisted.internet.protocol import Factory
from twisted.protocols import amp


class Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Math(amp.AMP):
    @Sum.responder
    def sum(self, a, b):
        return {"total": a + b}


class MathFactory(Factory):
    protocol = Math
    noisy = False


host, port = sys.argv[1].rsplit(":", 1)
endpoints.TCP4ServerEndpoint(reactor, int(port), interface=host).listen(MathFactory())
reactor.run()
