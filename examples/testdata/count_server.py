"""Count, the server: whoever receives n calls the other side with n+1."""

from serving import serve
from twisted.protocols import amp


class Count(amp.Command):
    arguments = [(b"n", amp.Integer())]
    response = [(b"ok", amp.Boolean())]


class Counter(amp.AMP):
    @Count.responder
    def count(self, n):
        print("received:", n, flush=True)
        if n + 1 < 10:
            print("sending:", n + 1, flush=True)
            self.callRemote(Count, n=n + 1).addErrback(lambda f: print("failed:", f.value, flush=True))
        return {"ok": True}

    def connectionLost(self, reason):
        super().connectionLost(reason)
        print("connection lost:", reason.type.__name__, flush=True)


serve(Counter)
