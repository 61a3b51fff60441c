"""The client, which stays as it is: calls the server at the port it is given."""

import sys

from twisted.internet import endpoints, task
from twisted.protocols import amp

from commands import Divide, Sum


class Multiply(amp.Command):
    pass


async def main(reactor):
    endpoint = endpoints.clientFromString(reactor, "tcp:127.0.0.1:" + sys.argv[1])
    server = await endpoints.connectProtocol(endpoint, amp.AMP())
    print(await server.callRemote(Sum, a=13, b=81))
    print(await server.callRemote(Divide, numerator=1234, denominator=2))
    try:
        await server.callRemote(Divide, numerator=1234, denominator=0)
    except ZeroDivisionError:
        print("ZeroDivisionError")
    try:
        await server.callRemote(Multiply)
    except amp.UnhandledCommand:
        print("UnhandledCommand")


task.react(main)
