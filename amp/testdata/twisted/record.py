"""Records what Twisted says on the wire.

    python3 record.py server > server.amp     what its server answers to bytes
    python3 record.py client > client.amp     what its client sends for calls

A transcript is a text of lines:

    case NAME     begins one
    > "…"         these bytes are sent to the server, in one segment
    eof           the sending half is closed
    < "…"         the server answers these bytes to all that was sent before;
                  no such line: nothing
    answers       in the end the server answers to a call of Sum,
    open          has not closed the connection,
    closed        or has

In client.amp there are only "case" and what the client wrote for that call.
Bytes are written as in Go and in Python.

Needs Twisted, which Debian calls python3-twisted.
"""

import socket
import sys
from struct import pack

from twisted.internet import defer, endpoints, protocol, reactor, task
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python import log

import client
import commands
import server

QUIET = 0.05  # seconds without a byte after which nothing more is expected


def pairs(*items):
    return b"".join(pack("!H", len(x)) + x for pair in items for x in pair)


def box(*items, **named):
    """A box of pairs in this very order."""
    return pairs(*items, *((k.encode(), v) for k, v in named.items())) + b"\0\0"


def ask(tag, command, *args, **named):
    return box((b"_ask", tag), (b"_command", command), *args, **named)


def tell(command, *args, **named):
    return box((b"_command", command), *args, **named)


SUM = ask(b"1", b"Sum", a=b"13", b=b"81")
SUM2 = ask(b"2", b"Sum", a=b"1", b=b"1")
EOF = object()

# Name: what is sent, one segment after the other was answered; several
# segments in a list follow each other at once.
CASES = {
    "F1 a call": [SUM],
    "F3 an empty value does not end the box": [ask(b"1", b"EchoString", v=b"")],
    "F4 keys and values of any bytes": [
        ask(b"1", b"Mirror", (b"\0\r\n\xff", b"\0\0\x01\xfe"), (b": ", b"test\r\n\r\n"), (b"ceq", b": "), (b"lf", b"hello\n"))],
    "F4 keys of one and of 255 bytes": [ask(b"1", b"Mirror", (b"k", b"v"), (b"k" * 255, b""))],
    "F5 pairs in any order": [box((b"b", b"81"), (b"_command", b"Sum"), (b"a", b"13"), (b"_ask", b"1"))],
    "F5 answers in the order of bytes": [ask(b"1", b"Mirror", (b"z", b""), (b"Z", b""), (b"_b", b""), (b"~", b""), (b"_Z", b""))],
    "F6 of two pairs with one key the last counts": [box((b"_ask", b"9"), (b"a", b"x"), (b"_command", b"Nope"), (b"a", b"13"), (b"b", b"81"),
                                                         (b"_command", b"Sum"), (b"_ask", b"1"))],
    "F8 several boxes in a segment": [SUM + SUM2 + ask(b"3", b"Nope") + ask(b"4", b"Sum", a=b"2", b=b"2")],
    "F8 a box in many segments": [[SUM[i:i + 1] for i in range(len(SUM))]],
    "F8 a box and a half": [SUM + SUM2[:9], SUM2[9:]],
    "F9 a key too long, first of the first box": [b"\x01\x00"],
    "F9 a key too long, second of the first box": [b"\0\x01k\0\x01v", b"\x01\x00"],
    "F9 a key too long, first of the second box": [SUM, b"\x01\x00"],
    "F9 what was asked before is answered": [SUM + SUM2 + b"\x01\x00" + SUM],
    "F9 not AMP at all": [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    "F14 an empty box": [b"\0\0"],
    "F15 a box of no kind": [box((b"_ask", b"1"))],
    "F15 a box of no kind, with keys": [box((b"a", b"1"), (b"b", b"2"))],
    "F16 an answer before an empty box": [SUM + b"\0\0" + SUM2],
    "F17 a half close": [SUM, EOF],
    "F17 a half close at once": [[SUM, EOF]],
    "K1 other keys with an underscore": [ask(b"1", b"Sum", _x=b"7", _error_code=b"x", a=b"13", b=b"81")],
    "K2 an answer with a command": [box((b"_answer", b"7"), (b"_ask", b"1"), (b"_command", b"Note"), (b"text", b"x"))],
    "K3 an answer nobody waits for": [box((b"_answer", b"1"), (b"total", b"3"))],
    "K3 an error nobody waits for": [box((b"_error", b"1"), (b"_error_code", b"X"), (b"_error_description", b""))],
    "K5 an answer of no keys": [ask(b"1", b"Empty")],
    "K6 a declared error": [ask(b"1", b"Divide", numerator=b"1", denominator=b"0")],
    "K7 a description is UTF-8": [ask(b"1", b"Fail", kind=b"declared", text="h\u00e9 \u2603".encode())],
    "G1 an empty tag": [ask(b"", b"Sum", a=b"13", b=b"81")],
    "G1 a tag of any bytes": [ask(b"\0\xff\r\n", b"Sum", a=b"13", b=b"81") + ask(b"\xfftag", b"Nope")],
    "G1 a long tag": [ask(b"x" * 300, b"Sum", a=b"13", b=b"81")],
    "G4 a tag used twice": [SUM + SUM],
    "G4 a tag used twice while it waits": [ask(b"1", b"Hold", name=b"a") + ask(b"1", b"Hold", name=b"b") +
                                           ask(b"2", b"Release", name=b"b") + ask(b"3", b"Release", name=b"a")],
    "G5 answers out of order": [ask(b"1", b"Hold", name=b"a") + SUM2, ask(b"3", b"Release", name=b"a")],
    "G6 no answer wanted": [tell(b"Sum", a=b"13", b=b"81") + SUM2],
    "G6 a command made for no answer, asked": [ask(b"1", b"Note", text=b"x")],
    "G7 StartTLS that wants no answer": [tell(b"StartTLS"), SUM],
    "G7 a switch that wants no answer": [tell(b"Switch", name=b"shout"), SUM],
    "L1 names differ in case": [ask(b"1", b"sum", a=b"13", b=b"81")],
    "L4 keys the command does not know": [ask(b"1", b"Sum", a=b"13", b=b"81", c=b"7", zz=b"")],
    "L5 a key is missing": [ask(b"1", b"Sum", a=b"13")],
    "L8 an unknown command": [ask(b"1", b"Nope")],
    "L8 an unknown command, quotes": [ask(b"1", b"don't\\\n\t\x01") + ask(b"2", b'"') + ask(b"3", b"'\"")],
    "L8 an empty command": [ask(b"1", b"")],
    "L8 a command that is not ASCII": [ask(b"1", "n\u00f6".encode())],
    "L8 an unknown command, nobody asks": [tell(b"Nope")],
    "Y1 what is no Integer": [ask(b"1", b"Sum", a=b"1.0", b=b"81")],
    "Y1 Integers as Python reads them": [ask(b"1", b"Sum", a=b" +1_3\n", b=b"0081")],
    "Y12 optional keys absent": [ask(b"1", b"Optional")],
    "Y12 optional keys empty": [ask(b"1", b"Optional", string=b"", unicode=b"", integers=b"", rows=b"")],
    "Y12 an optional Integer is empty": [ask(b"1", b"Optional", integer=b"")],
    "Y9 a list of boxes": [ask(b"1", b"EchoRows", v=box(x=b"7", y=b"hello", z=b"?") + box(x=b"9") + b"\0\x01x")],
    "Y8 a list of lists": [ask(b"1", b"EchoMatrix", v=pairs((pairs((b"1", b"2")), b"")) + b"\0")],
    "E1 a bad return": [ask(b"1", b"BadReturn")],
    "E2 an answer too long": [SUM, ask(b"2", b"Blob", size=b"65536")],
    "E3 nothing waits for what is not answered": [ask(b"1", b"Hold", name=b"a") + SUM2],
    "E4 a subclass of a declared error": [ask(b"1", b"Fail", kind=b"subclass", text=b"small")],
    "E4 an error declared by the base": [ask(b"1", b"FailMore", kind=b"declared", text=b"base") + ask(b"2", b"FailMore", kind=b"value", text=b"own")],
    "E4 a fatal error": [ask(b"1", b"Fail", kind=b"fatal", text=b"bye")],
    "E4 an error fatal and not": [ask(b"1", b"FailBoth")],
    "E4 an undeclared error": [ask(b"1", b"Fail", kind=b"surprise")],
    "E4 an error of any code": [ask(b"1", b"Fail", kind=b"remote", text=b"x") + ask(b"2", b"Fail", kind=b"remote-unknown", text=b"y")],
    "E4 an error of any code, fatal": [ask(b"1", b"Fail", kind=b"remote-fatal", text=b"x")],
    "E4 the code UNKNOWN declared": [ask(b"1", b"OwnUnknown")],
    "E4 what means unhandled": [ask(b"1", b"Fail", kind=b"unhandled", text=b"x")],
    "E8 calls behind a fatal error": [ask(b"1", b"Fail", kind=b"fatal", text=b"bye") + SUM2 + ask(b"3", b"Sum", a=b"3", b=b"3")],
    "E8 a call that waits at a fatal error": [ask(b"1", b"Hold", name=b"a") + ask(b"2", b"Fail", kind=b"fatal", text=b"bye")],
    "E10 a declared error, nobody asks": [tell(b"Note", text=b"declared")],
    "E10 an undeclared error, nobody asks": [tell(b"Note", text=b"undeclared")],
    "E10 a bad argument, nobody asks": [tell(b"Note", text=b"\xff")],
    "E10 a bad return, nobody asks": [tell(b"BadReturn")],
    "S1 a quit box": [SUM + ask(b"2", b"Quit")],
    "S1 a quit box, nobody asks": [tell(b"Quit")],
    "S2 a switch": [ask(b"1", b"Switch", name=b"shout"), b"hello", b"\0\0world"],
    "S2 bytes behind the switch": [SUM2 + ask(b"1", b"Switch", name=b"shout") + b"\0\0" + b"hello"],
    "S3 a late answer to before the switch": [ask(b"1", b"Hold", name=b"late") + ask(b"2", b"Switch", name=b"shout"), b"release", b"more"],
    "S4 a refused switch": [ask(b"1", b"Switch", name=b"refuse") + SUM2],
    "S4 a switch that fails": [ask(b"1", b"Switch", name=b"undeclared")],
    "D3 a descriptor over TCP": [ask(b"1", b"PassFile", file=b"0", text=b"x")],
}
PROBE = ask(b"probe", b"Sum", a=b"40", b=b"2")
PROBED = box(_answer=b"probe", total=b"42")
UNPROBED = ("F17", "S2", "S3")


def text(data):
    quoted = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else "\\x%02x" % b for b in data)
    return '"%s"' % quoted


class Recorder(protocol.Protocol):
    def __init__(self):
        self.data, self.closed, self.last = b"", False, 0

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        self.data += data
        self.last = reactor.seconds()

    def readConnectionLost(self):
        self.closed = True

    def connectionLost(self, reason):
        self.closed = True

    async def quiet(self):
        self.last = reactor.seconds()
        while not self.closed and reactor.seconds() < self.last + QUIET:
            await task.deferLater(reactor, 0.01)
        got, self.data = self.data, b""
        return got


async def play(address, steps):
    host, port = address.split(":")
    peer = await endpoints.connectProtocol(endpoints.TCP4ClientEndpoint(reactor, host, int(port)), Recorder())
    lines = []
    for step in steps:
        if peer.closed:
            break
        for segment in step if isinstance(step, list) else [step]:
            if segment is EOF:
                lines.append("eof")
                peer.transport.getHandle().shutdown(socket.SHUT_WR)
            else:
                lines.append("> " + text(segment))
                peer.transport.write(segment)
                await task.deferLater(reactor, 0)
        got = await peer.quiet()
        if got:
            lines.append("< " + text(got))
    lines.append("closed" if peer.closed else "open")
    peer.transport.abortConnection()
    return lines


async def record_server():
    address = server.listen("responder")
    names, played = [], []
    for name, steps in CASES.items():
        if not name.startswith(UNPROBED):
            steps = steps + [PROBE]
        names.append(name)
        played.append(defer.ensureDeferred(play(address, steps)))
        if len(played) % 10 == 0:
            await defer.gatherResults(played)  # not all at once: quiet is a time
    for name, lines in zip(names, await defer.gatherResults(played)):
        if lines[-3:] == ["> " + text(PROBE), "< " + text(PROBED), "open"]:
            lines[-3:] = ["answers"]
        print("case %s\n%s\n" % (name, "\n".join(lines)))


def record_client():
    """The calls that TestTwistedClientBytes makes, in the same order over one
    connection."""
    peer, wire = commands.Responder(), StringTransport()
    peer.makeConnection(wire)

    def case(name, call):
        try:
            d = call()
            if d is not None:
                d.addErrback(lambda why: None)
        except (amp.TooLong, TypeError, UnicodeError) as e:
            name += ": " + type(e).__name__
        print("case %s\n> %s\n" % (name, text(wire.value())))
        wire.clear()

    case("Sum", lambda: peer.callRemote(commands.Sum, a=13, b=81))
    case("Empty", lambda: peer.callRemote(commands.Empty))
    case("key too long", lambda: peer.callRemoteString(b"Mirror", **{"k" * 256: b"x"}))
    case("value too long", lambda: peer.callRemote(commands.ECHOES["String"], v=b"x" * 65536))
    case("Note, no answer", lambda: peer.callRemote(commands.Note, text="h\u00e9"))
    case("untyped", lambda: peer.callRemoteString(b"Mirror", A=b"1", z=b"2", _x=b"3", _command2=b""))
    case("untyped, no answer", lambda: peer.callRemoteString(b"Mirror", requiresAnswer=False, A=b"1"))
    case("Names", lambda: peer.callRemote(commands.Names, From="a", Class="b", mixedCase="c", dash_arg="d", _private="e", Zed="f"))
    case("Optional, nothing", lambda: peer.callRemote(commands.Optional))
    case("Optional, empty", lambda: peer.callRemote(commands.Optional, string=b"", unicode="", integers=[], rows=[]))
    for kind, command in commands.ECHOES.items():
        for value in commands.VALUES[kind]:
            if len(repr(value)) < 300:
                case("Echo" + kind, lambda: peer.callRemote(command, v=value))
    for i in range(5):
        case("Sum", lambda: peer.callRemote(commands.Sum, a=i, b=-i))
    case("Switch", lambda: peer.callRemote(commands.Switch, client.TalkFactory(), name="shout"))
    peer._unlockFromSwitch()
    case("StartTLS", lambda: peer.callRemote(amp.StartTLS))


def main(reactor, what):
    log.startLoggingWithObserver(lambda event: None, setStdout=False)
    if what == "client":
        return record_client() or defer.succeed(None)
    return defer.ensureDeferred(record_server())


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
