"""A server without commands."""

from serving import serve
from twisted.protocols import amp


class Basic(amp.AMP):
    def connectionMade(self):
        super().connectionMade()
        print("connected", flush=True)

    def connectionLost(self, reason):
        super().connectionLost(reason)
        print("disconnected:", reason.type.__name__, flush=True)


serve(Basic)
