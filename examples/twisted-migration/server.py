"""The old server: Sum and Divide, in Twisted. Run it with the port to listen on."""

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols import amp

from commands import Divide, Sum


class Math(amp.AMP):
    @Sum.responder
    def sum(self, a, b):
        total = a + b
        print(f"Did a sum: {a} + {b} = {total}", flush=True)
        return {"total": total}

    @Divide.responder
    def divide(self, numerator, denominator):
        result = numerator / denominator
        print(f"Divided: {numerator} / {denominator} = {result}", flush=True)
        return {"result": result}


reactor.listenTCP(int(sys.argv[1]), Factory.forProtocol(Math), interface="127.0.0.1")
print(f"listening on 127.0.0.1:{sys.argv[1]}", flush=True)
reactor.run()
