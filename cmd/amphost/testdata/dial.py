"""Runs one coroutine over one AMP connection and ends with its success."""

import sys

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.protocols import amp


def run(main, protocol=None):
    """Connect to the port in argv[1], await main(connection), then exit."""
    status = []

    async def talk():
        endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{sys.argv[1]}:timeout=20")
        connection = await connectProtocol(endpoint, protocol or amp.AMP())
        await main(connection)
        connection.transport.loseConnection()

    def failed(failure):
        failure.printTraceback(sys.stderr)
        status.append(1)

    def start():
        done = ensureDeferred(talk())
        done.addErrback(failed)
        done.addBoth(lambda _: reactor.callLater(0, reactor.stop))

    reactor.callWhenRunning(start)
    reactor.run()
    sys.exit(1 if status else 0)
