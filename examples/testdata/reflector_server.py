"""A box receiver that sends every box back."""

from serving import serve
from twisted.protocols import amp


class Reflector:
    def startReceivingBoxes(self, sender):
        self.sender = sender

    def ampBoxReceived(self, box):
        self.sender.sendBox(box)

    def stopReceivingBoxes(self, reason):
        print("stopped:", reason.type.__name__, flush=True)


serve(lambda: amp.BinaryBoxProtocol(Reflector()))
