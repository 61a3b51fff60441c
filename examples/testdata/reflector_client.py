"""Sends boxes, prints what comes back."""

import sys

from twisted.internet import endpoints, reactor
from twisted.protocols import amp

boxes = [{b"hello": b"world"}, {}, {b"_command": b"Sum", b"_ask": b"1"}, {b"_answer": b"7", b"empty": b""}]


class Receiver:
    count = 0

    def startReceivingBoxes(self, sender):
        for box in boxes:
            sender.sendBox(amp.AmpBox(box))

    def ampBoxReceived(self, box):
        print(sorted(box.items()), flush=True)
        self.count += 1
        if self.count == len(boxes):
            protocol.transport.loseConnection()

    def stopReceivingBoxes(self, reason):
        reactor.stop()


protocol = amp.BinaryBoxProtocol(Receiver())
server = endpoints.clientFromString(reactor, "tcp:127.0.0.1:" + sys.argv[1])
endpoints.connectProtocol(server, protocol)
reactor.run()
