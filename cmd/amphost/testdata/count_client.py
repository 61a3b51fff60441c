"""Counts to nine with the server: each side calls the other in turn."""

from commands import Count
from dial import run
from twisted.internet.defer import Deferred
from twisted.protocols import amp


class Counter(amp.AMP):
    def __init__(self):
        super().__init__()
        self.finished = Deferred()

    @Count.responder
    def count(self, n):
        print("received:", n, flush=True)
        if n + 1 < 10:
            self.send(n + 1)
        return {"ok": True}

    def send(self, n):
        print("sending:", n, flush=True)
        answer = self.callRemote(Count, n=n)
        answer.addCallback(self.answered, n)
        answer.addErrback(self.finished.errback)

    def answered(self, response, n):
        assert response == {"ok": True}, response
        if n == 9:
            self.finished.callback(None)


async def main(connection):
    connection.send(1)
    await connection.finished


run(main, Counter())
