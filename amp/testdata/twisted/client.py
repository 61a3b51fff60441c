"""Twisted clients for a server in Go: each function is one scenario, which
raises what it finds wrong."""

import math
import os

from twisted.internet import defer, endpoints, error, protocol, reactor, task
from twisted.protocols import amp

import commands as c
import server


async def connect(address, build=c.Responder):
    if address.startswith("/"):
        endpoint = endpoints.UNIXClientEndpoint(reactor, address)
    else:
        host, port = address.rsplit(":", 1)
        endpoint = endpoints.TCP4ClientEndpoint(reactor, host, int(port))
    return await endpoints.connectProtocol(endpoint, build())


def close(peer):
    peer.transport.loseConnection()
    return peer.lost


async def fails(d, kind, text=None):
    """Expects d to fail with an error of this very class, and text."""
    try:
        got = await d
    except Exception as e:
        assert type(e) is kind, "failed with %r, want %s" % (e, kind)
        got = e.description if isinstance(e, amp.RemoteAmpError) else (e.args or ("",))[-1]
        assert text in (None, got), "failed with %r, want the text %r" % (e, text)
        return e
    raise AssertionError("answered %r, want %s" % (got, kind))


def failing(*args):
    """fails, which begins to wait at once."""
    return defer.ensureDeferred(fails(*args))


async def works(peer):
    """Expects that peer still answers."""
    assert await peer.callRemote(c.Sum, a=13, b=81) == {"total": 94}


async def ends(peer, kind=error.ConnectionDone):
    """Expects the connection to end in this way, by itself."""
    why = await peer.lost
    assert isinstance(why, kind), "the connection ended with %r, want %s" % (why, kind)


def equal(a, b):
    """Compares with what == takes for the same: -0.0, NaN, Decimals' digits, offsets."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, c.datetime.datetime):
        return a == b and a.utcoffset() == b.utcoffset()
    return type(a) is type(b) and a == b if isinstance(a, (bytes, str)) else repr(a) == repr(b)


async def values(address):
    peer = await connect(address)
    n = 0
    for kind, command in c.ECHOES.items():
        for value in c.VALUES[kind]:
            got = (await peer.callRemote(command, v=value))["v"]
            assert equal(got, value), "%s: sent %.200r, got %.200r" % (kind, value, got)
            n += 1
    await close(peer)
    return n


async def optional(address):
    peer = await connect(address)
    absent = dict.fromkeys("integer string unicode float boolean decimal datetime path integers rows".split())
    assert await peer.callRemote(c.Optional) == absent
    some = {"string": b"", "unicode": "", "integers": [], "rows": []}
    got = await peer.callRemote(c.Optional, **some)
    assert got == dict(absent, **some), "an empty value came back as %r" % got
    full = {kind.lower(): v[-1] for kind, v in c.VALUES.items() if kind.lower() in absent}
    got = await peer.callRemote(c.Optional, **full)
    assert equal(got, full), "sent %r, got %r" % (full, got)
    names = dict(From="a", Class="b", mixedCase="c", dash_arg="d", _private="e", Zed="f")
    assert await peer.callRemote(c.Names, **names) == names
    await close(peer)


async def errors(address):
    peer = await connect(address)
    await fails(peer.callRemote(c.Divide, numerator=1, denominator=0), ZeroDivisionError, "division by zero")
    assert await peer.callRemote(c.Divide, numerator=1, denominator=4) == {"result": 0.25}
    await fails(peer.callRemote(c.Fail, kind="declared", text="h\u00e9"), c.Oops, "h\u00e9")
    await fails(peer.callRemote(c.Fail, kind="subclass", text=""), c.Oops, "")
    await fails(peer.callRemote(c.FailMore, kind="declared", text="old"), c.Oops, "old")
    await fails(peer.callRemote(c.FailMore, kind="value", text="new"), ValueError, "new")
    await fails(peer.callRemote(c.OwnUnknown), c.Oops, "mine")
    await fails(peer.callRemote(c.Fail, kind="remote", text="x"), amp.UnknownRemoteError)
    await fails(peer.callRemote(c.Fail, kind="remote-unknown", text="known"), amp.UnknownRemoteError)
    e = await fails(peer.callRemoteString(b"Fail", kind=b"remote", text=b"x"), amp.RemoteAmpError)
    assert (e.errorCode, e.description) == (b"CUSTOM", "x"), e
    e = await fails(peer.callRemoteString(b"Nope"), amp.UnhandledCommand)
    assert e.args == (b"UNHANDLED", "Unhandled Command: b'Nope'"), e.args
    await fails(peer.callRemoteString(b"sum", a=b"1", b=b"2"), amp.UnhandledCommand)
    await works(peer)
    before = failing(peer.callRemote(c.Hold, name="before"), error.ConnectionDone)
    await fails(peer.callRemote(c.Fail, kind="fatal", text="bye"), c.Fatality, "bye")
    await ends(peer)
    await before
    peer = await connect(address)
    await fails(peer.callRemote(c.Fail, kind="remote-fatal", text="bye"), amp.UnknownRemoteError, "bye")
    await ends(peer)
    peer = await connect(address)
    await fails(peer.callRemote(c.FailBoth), c.Oops, "both")
    await ends(peer)


async def undeclared(address, stays):
    """What the responder did not declare: UNKNOWN, and whether the connection
    lives on."""
    calls = [
        lambda p: fails(p.callRemote(c.Fail, kind="surprise"), amp.UnknownRemoteError),
        lambda p: fails(p.callRemoteString(b"Sum", a=b"one", b=b"2"), amp.RemoteAmpError),
        lambda p: fails(p.callRemoteString(b"Sum", a=b"1"), amp.RemoteAmpError),
        lambda p: fails(p.callRemote(c.BadReturn), amp.UnknownRemoteError),
    ]
    for call in calls:
        peer = await connect(address)
        e = await call(peer)
        assert "secret" not in str(e), "the error tells the peer %r" % e
        if stays:
            await works(peer)
            await close(peer)
        else:
            await ends(peer)
    peer = await connect(address)
    if stays:
        e = await fails(peer.callRemoteString(b"Sum", a=b"one", b=b"2"), amp.RemoteAmpError)
        assert e.errorCode == b"BAD_ARGUMENTS" and "a" in e.description, e
        e = await fails(peer.callRemoteString(b"Blob", size=b"65536"), amp.RemoteAmpError)
        assert (e.errorCode, e.description) == (b"UNKNOWN", "Unknown Error"), e
        await works(peer)
        await close(peer)
    else:
        await fails(peer.callRemote(c.Blob, size=65536), error.ConnectionDone)


async def no_answer(address, stays):
    peer = await connect(address)
    assert peer.callRemote(c.Note, text="one") is None
    assert peer.callRemoteString(b"Note", requiresAnswer=False, text=b"two") is None
    await peer.callRemote(c.AskedNote, text="three")
    got = await peer.callRemote(c.Notes)
    assert got == {"texts": ["one", "two", "three"]}, got
    for send in (
        lambda: peer.callRemote(c.Note, text="declared"),
        lambda: peer.callRemote(c.Note, text="undeclared"),
        lambda: peer.callRemoteString(b"Note", requiresAnswer=False),
        lambda: peer.callRemoteString(b"Nope", requiresAnswer=False),
        lambda: peer.callRemoteString(b"Blob", requiresAnswer=False, size=b"65536"),
    ):
        assert send() is None
        if stays:
            await works(peer)
        else:
            await ends(peer)
            assert peer.callRemote(c.Note, text="after the end") is None
            peer = await connect(address)
    await close(peer)


async def pipelining(address, calls):
    peer = await connect(address)
    got = await defer.gatherResults([peer.callRemote(c.Sum, a=i, b=1) for i in range(calls)])
    assert [g["total"] for g in got] == list(range(1, calls + 1))
    await close(peer)


async def out_of_order(address):
    peer = await connect(address)
    names = [str(i) for i in range(100)]
    order = []
    held = []
    for name in names:
        d = peer.callRemote(c.Hold, name=name)
        held.append(d.addCallback(lambda answer: order.append(answer["name"])))
    await works(peer)
    for name in reversed(names):
        await peer.callRemote(c.Release, name=name)
    await defer.gatherResults(held)
    assert order == names[::-1], order
    await close(peer)


async def both_call(address, calls, times):
    peer = await connect(address)
    got = await defer.gatherResults([peer.callRemote(c.CallMeBack, times=times) for _ in range(calls)])
    want = times * (times + 1) // 2
    assert [g["total"] for g in got] == [want] * calls, got
    await close(peer)


async def quit_box(address):
    peer = await connect(address)
    assert await peer.callRemote(c.Quit) == {"goodbye": "everyone"}
    await ends(peer)
    await fails(peer.callRemote(c.Sum, a=1, b=1), error.ConnectionDone)


async def behind_fatal(address):
    """Thousands of calls behind a fatal one: its error arrives all the same,
    and no reset takes it away."""
    peer = await connect(address)
    d = peer.callRemote(c.Fail, kind="fatal", text="bye")
    rest = [peer.callRemote(c.Sum, a=i, b=1) for i in range(5000)]
    for other in rest:
        other.addErrback(lambda why: why.trap(error.ConnectionDone))
    await fails(d, c.Fatality, "bye")
    await ends(peer)
    await defer.gatherResults(rest)


class Boxes:
    """A box receiver that keeps what it gets."""

    def __init__(self, want):
        self.want, self.got, self.all = want, [], defer.Deferred()

    def startReceivingBoxes(self, sender):
        self.sender = sender
        for box in self.want:
            sender.sendBox(box)

    def ampBoxReceived(self, box):
        self.got.append(box)
        if len(self.got) == len(self.want):
            self.all.callback(None)

    def stopReceivingBoxes(self, reason):
        self.reason = reason


async def reflector(address):
    boxes = Boxes([
        amp.Box({b"hello": b"world"}), amp.Box(), amp.Box({b"_answer": b"nobody", b"_command": b"x", b"\0\xff": b""}),
        amp.Box({b"k%04d" % i: b"v" * i for i in range(2000)}), amp.Box({b"x" * 255: b"y" * 65535}),
    ])
    peer = await connect(address, lambda: amp.BinaryBoxProtocol(boxes))
    await boxes.all
    assert boxes.got == boxes.want
    peer.transport.loseConnection()


async def large(address):
    peer = await connect(address)
    for box in (
        {"k%04d" % i: b"v" * i for i in range(2000)},
        {"full%d" % i: b"\0\xff\n" * 21845 for i in range(20)},
        {"x" * 255: b""},
        {"Mixed": b"1", "_x": b"2", "\0\r\n": b"3"},
    ):
        got = await peer.callRemoteString(b"Mirror", **box)
        got.pop(b"_answer")
        assert got == {k.encode(): v for k, v in box.items()}
    for key, value in (("k" * 256, b"x"), ("k", b"x" * 65536)):
        try:
            peer.callRemoteString(b"Mirror", **{key: value})
        except amp.TooLong:
            pass
        else:
            raise AssertionError("Twisted sent what is too long")
    got = await peer.callRemote(c.Blob, size=65535)
    assert got == {"blob": b"x" * 65535}
    await works(peer)
    await close(peer)


class Talk(protocol.Protocol):
    def __init__(self):
        self.data, self.lost, self.waiting = b"", defer.Deferred(), None

    def dataReceived(self, data):
        self.data += data
        if self.waiting and self.waiting[0] in self.data:
            (_, d), self.waiting = self.waiting, None
            d.callback(None)

    def until(self, word):
        if word in self.data:
            return defer.succeed(None)
        self.waiting = word, defer.Deferred()
        return self.waiting[1]

    def connectionLost(self, reason):
        self.lost.callback(reason.value)


class TalkFactory(protocol.ClientFactory):
    failed = False

    def buildProtocol(self, addr):
        self.talk = Talk()
        return self.talk

    def clientConnectionFailed(self, connector, reason):
        self.failed = True


async def switch(address):
    peer = await connect(address)
    # A late answer to this one must not get into the other protocol.
    held = failing(peer.callRemote(c.Hold, name="late"), error.ConnectionDone)
    factory = TalkFactory()
    await peer.callRemote(c.Switch, factory, name="shout")
    talk = factory.talk
    await talk.until(b"welcome;")
    talk.transport.write(b"\0\0hello;")
    talk.transport.write(b"release;")
    await talk.until(b"RELEASE;")
    assert talk.data == b"welcome;\0\0HELLO;RELEASE;", talk.data
    talk.transport.loseConnection()
    await talk.lost
    await held


async def switch_refused(address):
    peer = await connect(address)
    factory = TalkFactory()
    await fails(peer.callRemote(c.Switch, factory, name="refuse"), c.Oops, "not today")
    assert factory.failed
    await works(peer)
    await fails(peer.callRemote(c.Switch, factory, name="undeclared"), amp.UnknownRemoteError)
    await works(peer)
    await close(peer)


async def descriptors(address):
    peer = await connect(address)
    for text in ("one", "two", "three"):
        r, w = os.pipe()
        answer = await peer.callRemote(c.PassFile, file=w, text=text)
        os.close(w)
        with os.fdopen(r) as f:
            assert f.read() == text
        with os.fdopen(answer["file"]) as f:
            assert f.read() == text.upper()
    # The same in one go: the ordinals must not get mixed up.
    pipes = [os.pipe() for _ in range(20)]
    answers = await defer.gatherResults(
        [peer.callRemote(c.PassFile, file=w, text=str(i)) for i, (_, w) in enumerate(pipes)])
    for i, (r, w) in enumerate(pipes):
        os.close(w)
        with os.fdopen(r) as f:
            assert f.read() == str(i)
        with os.fdopen(answers[i]["file"]) as f:
            assert f.read() == str(i)
    await works(peer)
    await close(peer)


async def descriptors_refused(address, stays):
    """An ordinal that was never sent, over any transport."""
    peer = await connect(address)
    await fails(peer.callRemoteString(b"PassFile", file=b"7", text=b"x"), amp.RemoteAmpError)
    if stays:
        await works(peer)
        await close(peer)
    else:
        await ends(peer)


async def tls(address, who="", subject=None, **files):
    """StartTLS, with a call that waits across it and one that is queued behind it."""
    peer = await connect(address)
    held = peer.callRemote(c.Hold, name="across")
    await works(peer)
    started = peer.callRemote(amp.StartTLS, **server.certificates(**files))
    behind = [peer.callRemote(c.Sum, a=i, b=1) for i in range(100)]
    await started
    assert [(await d)["total"] for d in behind] == list(range(1, 101))
    await peer.callRemote(c.Release, name="across")
    assert await held == {"name": "across"}
    assert await peer.callRemote(c.WhoAmI) == {"name": who}
    if subject is not None:
        assert peer.peerCertificate.getSubject().commonName == subject.encode(), peer.peerCertificate
    got = await defer.gatherResults([peer.callRemote(c.CallMeBack, times=3) for _ in range(50)])
    assert [g["total"] for g in got] == [6] * 50
    switched = TalkFactory()
    await peer.callRemote(c.Switch, switched, name="shout")
    await switched.talk.until(b"welcome;")
    switched.talk.transport.write(b"secret;")
    await switched.talk.until(b"SECRET;")
    switched.talk.transport.loseConnection()
    await switched.talk.lost


async def tls_not_verified(address, **files):
    peer = await connect(address)
    started = peer.callRemote(amp.StartTLS, **server.certificates(**files))
    started.addErrback(lambda why: None)
    d = peer.callRemote(c.Sum, a=1, b=2)
    try:
        got = await d
    except Exception as e:
        return type(e).__name__
    raise AssertionError("answered %r over TLS that is not verified" % got)


async def tls_refused(address):
    peer = await connect(address)
    d = peer.callRemote(amp.StartTLS)
    behind = failing(peer.callRemote(c.Sum, a=1, b=2), error.ConnectionDone)
    await fails(d, amp.UnknownRemoteError, "TLS not available")
    await ends(peer)
    await behind


async def tls_twice(address):
    peer = await connect(address)
    await peer.callRemote(amp.StartTLS)
    await works(peer)
    # Twisted's own client would hold back all it sends from now on: ask below it.
    e = await fails(peer.callRemoteString(b"StartTLS"), amp.RemoteAmpError)
    assert e.errorCode == b"TLS_ERROR", e
    await works(peer)
    await close(peer)


async def tls_asked_by_server(address):
    """The server asks for StartTLS; who opened the connection is the TLS client
    all the same."""
    peer = await connect(address)
    await peer.callRemote(c.EncryptMe)
    while peer.hostCertificate is None:
        await task.deferLater(reactor, 0.01)
    await works(peer)
    await close(peer)


async def idle(address):
    """Connects, and leaves it at that."""
    peer = await connect(address)
    await works(peer)


async def lost_in_call(address):
    peer = await connect(address)
    await fails(peer.callRemote(c.Hang), error.ConnectionDone)
