"""Twisted servers for the clients among the examples: argv[1] says which. Prints
its port, and what it gets."""

import sys

from commands import Count, RegisterUser, UsernameUnavailable
from twisted.internet import protocol, reactor
from twisted.protocols import amp


class Counter(amp.AMP):
    """Answers at once, and calls back beside that."""

    @Count.responder
    def count(self, n):
        print("received:", n, flush=True)
        if n + 1 < 10:
            print("sending:", n + 1, flush=True)
            self.callRemote(Count, n=n + 1).addErrback(lambda why: print(why, flush=True))
        return {"ok": True}


class Registry(amp.AMP):
    users = {}

    @RegisterUser.responder
    def register(self, username, publickey):
        if username in self.users:
            raise UsernameUnavailable(username)
        self.users[username] = publickey
        return {"uid": len(self.users)}


class Reflector:
    """Sends every box back."""

    def startReceivingBoxes(self, sender):
        self.sender = sender

    def ampBoxReceived(self, box):
        self.sender.sendBox(box)

    def stopReceivingBoxes(self, reason):
        pass


SERVERS = {
    "basic": amp.AMP,
    "count": Counter,
    "register": Registry,
    "reflector": lambda: amp.BinaryBoxProtocol(Reflector()),
}

port = reactor.listenTCP(0, protocol.Factory.forProtocol(SERVERS[sys.argv[1]]), interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
