"""Twisted clients of the examples that need none but a few boxes: argv[2] says
which."""

import sys

from commands import Sum
from dial import run
from twisted.internet.defer import Deferred
from twisted.protocols import amp


class Boxes(amp.BinaryBoxProtocol):
    """Sends boxes, and waits until as many have come back."""

    def __init__(self):
        super().__init__(self)
        self.sent = [amp.Box({b"hello": b"world"}), amp.Box(), amp.Box({b"_answer": b"7", b"empty": b""})]
        self.got = []
        self.finished = Deferred()

    def startReceivingBoxes(self, sender):
        for box in self.sent:
            sender.sendBox(box)

    def ampBoxReceived(self, box):
        self.got.append(box)
        if len(self.got) == len(self.sent):
            self.finished.callback(None)

    def stopReceivingBoxes(self, reason):
        pass


async def basic(connection):
    try:
        await connection.callRemote(Sum, a=1, b=5)
    except amp.UnhandledCommand as e:
        print("UnhandledCommand:", e.args[-1])
    await connection.callRemote(amp.StartTLS)
    print("encrypted:", connection.transport.TLS)


async def reflector(connection):
    await connection.finished
    print("the same:", connection.got == connection.sent)


CLIENTS = {"basic": (basic, None), "reflector": (reflector, Boxes)}
main, protocol = CLIENTS[sys.argv[2]]
run(main, protocol and protocol())
