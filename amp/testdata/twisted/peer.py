"""Twisted's end of the interoperability tests: one process for many of them.

It reads a JSON object from each line of its standard input, and prints one for
each when it is done:

    {"listen": "responder"}                  → {"address": "127.0.0.1:40123"}
    {"listen": "responder", "unix": "/s"}    → {"address": "/s"}
    {"run": "pipelining", "address": …, …}   → {"result": …}

What fails prints {"error": "…"} instead. A server is one of
server.SERVERS, a scenario a function of client.py; the other keys of the object
are their arguments. The process ends with its input.

Needs Twisted, which Debian calls python3-twisted.
"""

import json
import sys
import traceback

from twisted.internet import defer, reactor, stdio
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python import log

import client
import server

TIMEOUT = 30  # seconds for one request


class Control(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def lineReceived(self, line):
        request = json.loads(line)
        d = defer.ensureDeferred(self.handle(request))
        d.addTimeout(TIMEOUT, reactor)
        d.addErrback(lambda why: {"error": why.getErrorMessage() + "\n" + why.getTraceback()})
        d.addCallback(lambda answer: self.sendLine(json.dumps(answer).encode()))

    async def handle(self, request):
        if "listen" in request:
            return {"address": server.listen(request.pop("listen"), **request)}
        try:
            scenario = getattr(client, request.pop("run"))
            return {"result": await scenario(**request)}
        except Exception:
            return {"error": traceback.format_exc()}

    def connectionLost(self, reason):
        reactor.stop()


log.startLoggingWithObserver(lambda event: None, setStdout=False)
stdio.StandardIO(Control())
reactor.run()
sys.exit(0)
