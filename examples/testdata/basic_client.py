"""Connects, asks for what is not there, and disconnects."""

import sys

from twisted.internet import endpoints, task
from twisted.protocols import amp


class Hello(amp.Command):
    pass


async def main(reactor):
    server = endpoints.clientFromString(reactor, "tcp:127.0.0.1:" + sys.argv[1])
    connection = await endpoints.connectProtocol(server, amp.AMP())
    print("connected")
    try:
        await connection.callRemote(Hello)
    except amp.UnhandledCommand:
        print("UnhandledCommand")
    connection.transport.loseConnection()


task.react(main)
