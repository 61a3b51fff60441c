"""The maths client of Twisted's examples, which comes back by itself. argv is the
port, and how long a second lasts."""

import sys

from twisted.application.internet import ClientService
from twisted.internet import endpoints, task
from twisted.internet.protocol import Factory
from twisted.protocols import amp


class Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


async def main(reactor):
    second = float(sys.argv[2])
    endpoint = endpoints.clientFromString(reactor, "tcp:127.0.0.1:" + sys.argv[1])
    service = ClientService(endpoint, Factory.forProtocol(amp.AMP), retryPolicy=lambda _: second)
    service.startService()
    print("connecting", flush=True)
    for pause in [1, 2, 3, 3, 3, 3, 3]:
        await task.deferLater(reactor, pause * second, lambda: None)
        connection = await service.whenConnected()
        print(await connection.callRemote(Sum, a=1, b=5), flush=True)
    await service.stopService()


task.react(main)
