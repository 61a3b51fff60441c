"""A Twisted server that answers Sum and Divide; prints its port."""

from commands import Divide, Sum
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols import amp


class Echo(amp.Command):
    arguments = [(b"data", amp.String())]
    response = [(b"data", amp.String()), (b"text", amp.Unicode())]


class Nothing(amp.Command):
    pass


class Hang(amp.Command):
    pass


class Maths(amp.AMP):
    @Sum.responder
    def sum(self, a, b):
        return {"total": a + b}

    @Divide.responder
    def divide(self, numerator, denominator):
        return {"result": numerator / denominator}

    @Echo.responder
    def echo(self, data):
        return {"data": data + b"\x00\xff\n", "text": "naïve"}

    @Nothing.responder
    def nothing(self):
        return {}

    @Hang.responder
    def hang(self):
        return Deferred()


port = reactor.listenTCP(0, Factory.forProtocol(Maths), interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
