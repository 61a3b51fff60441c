"""Asks for the poem in argv[2] over AMP; what then comes is the poem."""

import sys

from twisted.internet import endpoints
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import react
from twisted.protocols import amp


class NoSuchPoem(Exception):
    pass


class Recite(amp.ProtocolSwitchCommand):
    arguments = [(b"poem", amp.Unicode())]
    errors = {NoSuchPoem: b"NO_SUCH_POEM"}


class Poem(Protocol):
    def dataReceived(self, data):
        sys.stdout.buffer.write(data)

    def connectionLost(self, reason):
        sys.stdout.buffer.flush()
        finished.callback(None)


class PoemFactory(ClientFactory):
    protocol = Poem
    noisy = False


finished = Deferred()


async def main(reactor):
    server = endpoints.clientFromString(reactor, "tcp:127.0.0.1:" + sys.argv[1])
    connection = await endpoints.connectProtocol(server, amp.AMP())
    try:
        await connection.callRemote(Recite, PoemFactory(), poem="ozymandias")
    except NoSuchPoem as e:
        print("NoSuchPoem:", e, flush=True)
    await connection.callRemote(Recite, PoemFactory(), poem=sys.argv[2])
    await finished


react(main)
