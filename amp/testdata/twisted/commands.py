"""The commands that the interoperability tests share, and Twisted's answers to
them. The Go side has the same in twisted_test.go."""

import datetime
import os
from decimal import Decimal

from twisted.internet import defer, error, protocol
from twisted.protocols import amp
from twisted.python.filepath import FilePath

ROW = [(b"x", amp.Integer()), (b"y", amp.Unicode(optional=True))]
TYPES = {
    "Integer": amp.Integer(),
    "String": amp.String(),
    "Unicode": amp.Unicode(),
    "Float": amp.Float(),
    "Boolean": amp.Boolean(),
    "Decimal": amp.Decimal(),
    "DateTime": amp.DateTime(),
    "Path": amp.Path(),
    "Integers": amp.ListOf(amp.Integer()),
    "Texts": amp.ListOf(amp.Unicode()),
    "Floats": amp.ListOf(amp.Float()),
    "Decimals": amp.ListOf(amp.Decimal()),
    "DateTimes": amp.ListOf(amp.DateTime()),
    "Matrix": amp.ListOf(amp.ListOf(amp.Integer())),
    "Rows": amp.AmpList(ROW),
    "Tables": amp.AmpList([(b"rows", amp.AmpList(ROW)), (b"marks", amp.ListOf(amp.Boolean(), optional=True))]),
}


def zone(**offset):
    return datetime.timezone(datetime.timedelta(**offset))


# For each type values to carry there and back.
VALUES = {
    "Integer": [0, 1, -1, 2**53 + 1, 2**63, -(2**64), 10**116, 10**4299],
    "String": [b"", b"\0\xff\r\n", bytes(range(256)), b"x" * 65535],
    "Unicode": ["", "h\u00e9llo", "e\u0301\ufeff\0", "\u2603\U0010ffff"],
    "Float": [0.0, -0.0, 1.0, 0.1, 1e16, 1e-5, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan")],
    "Boolean": [True, False],
    "Decimal": [Decimal(s) for s in "0 -0 1.10 1E+2 0E-7 -1.5E-9 Infinity NaN123 -sNaN".split()],
    "DateTime": [
        datetime.datetime(2012, 1, 23, 12, 34, 56, 54321, zone(hours=-1, minutes=-23)),
        datetime.datetime(1, 1, 1, tzinfo=amp.utc),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, zone(hours=14)),
    ],
    "Path": [FilePath("/"), FilePath("/tmp/h\u00e9llo")],
    "Integers": [[], [1, -2, 10**30]],
    "Texts": [[], [""], ["\u2603", "", "x"]],
    "Floats": [[1.0, float("inf"), -0.0]],
    "Decimals": [[Decimal("1E+2"), Decimal("-0")]],
    "DateTimes": [[datetime.datetime(2012, 1, 23, tzinfo=amp.utc)]],
    "Matrix": [[], [[]], [[1, 2], [], [3]]],
    "Rows": [[], [{"x": 7, "y": "hello"}, {"x": 9, "y": None}, {"x": 1, "y": ""}]],
    "Tables": [[{"rows": [{"x": 1, "y": None}], "marks": [True, False]}, {"rows": [], "marks": None}]],
}


def echo(kind):
    """The command that answers with its one argument."""
    name = b"Echo" + kind.encode()
    fields = [(b"v", TYPES[kind])]
    return type(str(kind), (amp.Command,), {"commandName": name, "arguments": fields, "response": fields})


ECHOES = {kind: echo(kind) for kind in TYPES}


class Optional(amp.Command):
    arguments = [(kind.lower().encode(), type(t)(optional=True)) for kind, t in TYPES.items()
                 if not isinstance(t, (amp.ListOf, amp.AmpList))]
    arguments += [(b"integers", amp.ListOf(amp.Integer(), optional=True)), (b"rows", amp.AmpList(ROW, optional=True))]
    response = arguments


class Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Divide(amp.Command):
    arguments = [(b"numerator", amp.Integer()), (b"denominator", amp.Integer())]
    response = [(b"result", amp.Float())]
    errors = {ZeroDivisionError: b"ZERO_DIVISION"}


class Oops(Exception):
    pass


class SmallOops(Oops):
    pass


class Fatality(Exception):
    pass


class Fail(amp.Command):
    """Fails as kind says."""

    arguments = [(b"kind", amp.Unicode()), (b"text", amp.Unicode(optional=True))]
    errors = {Oops: b"OOPS"}
    fatalErrors = {Fatality: b"FATALITY"}


class FailMore(Fail):
    """Inherits errors, and adds one."""

    errors = {ValueError: b"VALUE"}


class FailBoth(amp.Command):
    """Declares an error as fatal and not fatal."""

    errors = {Oops: b"OOPS"}
    fatalErrors = {Oops: b"FATAL_OOPS"}


class OwnUnknown(amp.Command):
    """Declares the code UNKNOWN for itself."""

    errors = {Oops: b"UNKNOWN"}


class Names(amp.Command):
    """Has keys that Python spells differently."""

    arguments = [(b"from", amp.Unicode()), (b"class", amp.Unicode()), (b"mixedCase", amp.Unicode()),
                 (b"dash-arg", amp.Unicode()), (b"_private", amp.Unicode()), (b"Zed", amp.Unicode())]
    response = arguments


class Empty(amp.Command):
    pass


class BadReturn(amp.Command):
    response = [(b"v", amp.Integer())]


class Blob(amp.Command):
    arguments = [(b"size", amp.Integer())]
    response = [(b"blob", amp.String())]


class Note(amp.Command):
    arguments = [(b"text", amp.Unicode())]
    errors = {Oops: b"OOPS"}
    requiresAnswer = False


class AskedNote(Note):
    commandName = b"Note"
    requiresAnswer = True


class Notes(amp.Command):
    response = [(b"texts", amp.ListOf(amp.Unicode()))]


class Hold(amp.Command):
    """Is answered when Release names it."""

    arguments = [(b"name", amp.Unicode())]
    response = [(b"name", amp.Unicode())]


class Release(amp.Command):
    arguments = [(b"name", amp.Unicode())]


class Count(amp.Command):
    arguments = [(b"n", amp.Integer())]
    response = [(b"n", amp.Integer())]


class CallMeBack(amp.Command):
    """Calls Count over the same connection, times times, before it answers."""

    arguments = [(b"times", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Quit(amp.Command):
    response = [(b"goodbye", amp.Unicode())]
    responseType = amp.QuitBox


class Switch(amp.ProtocolSwitchCommand):
    arguments = [(b"name", amp.Unicode())]
    errors = {Oops: b"OOPS"}


class WhoAmI(amp.Command):
    """Answers with the common name in the caller's certificate."""

    response = [(b"name", amp.Unicode())]


class EncryptMe(amp.Command):
    """Asks the caller for StartTLS after it has answered."""


class PassFile(amp.Command):
    """Gets a pipe's end to write text to, and gives another to read from."""

    arguments = [(b"file", amp.Descriptor()), (b"text", amp.Unicode())]
    response = [(b"file", amp.Descriptor())]


class Hang(amp.Command):
    """Closes the connection instead of answering."""


class Shouter(protocol.Protocol):
    """What a connection speaks after Switch: it greets and shouts back. On the
    word "release" the AMP that was there before answers what it held."""

    def __init__(self, responder):
        self.responder = responder

    def connectionMade(self):
        self.transport.write(b"welcome;")

    def dataReceived(self, data):
        if b"release" in data:
            for name in list(self.responder.held):
                self.responder.release(name)
        self.transport.write(data.upper())


class Responder(amp.AMP):
    """Answers all commands."""

    notes = []
    tls = {}

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.held = {}
        self.lost = defer.Deferred()

    def connectionLost(self, reason):
        super().connectionLost(reason)
        if not self.lost.called:
            self.lost.callback(reason.value)

    @Optional.responder
    def optional(self, **values):
        return values

    @Sum.responder
    def sum(self, a, b):
        return {"total": a + b}

    @Divide.responder
    def divide(self, numerator, denominator):
        return {"result": numerator / denominator}

    def fail(self, kind, text=None):
        if kind == "declared":
            raise Oops(text)
        if kind == "subclass":
            raise SmallOops(text)
        if kind == "fatal":
            raise Fatality(text)
        if kind == "value":
            raise ValueError(text)
        if kind == "remote":
            raise amp.RemoteAmpError(b"CUSTOM", text)
        if kind == "remote-fatal":
            raise amp.RemoteAmpError(b"CUSTOM", text, True)
        if kind == "remote-unknown":
            raise amp.RemoteAmpError(b"UNKNOWN", text)
        if kind == "unhandled":
            raise amp.UnhandledCommand(text)
        raise Exception("secret " + kind)

    Fail.responder(fail)
    fail_more = FailMore.responder(lambda self, **kw: self.fail(**kw))

    @FailBoth.responder
    def fail_both(self):
        raise Oops("both")

    @OwnUnknown.responder
    def own_unknown(self):
        raise Oops("mine")

    @Names.responder
    def names(self, **names):
        return names

    @Empty.responder
    def empty(self):
        return {}

    @BadReturn.responder
    def bad_return(self):
        return None

    @Blob.responder
    def blob(self, size):
        return {"blob": b"x" * size, "extra": "dropped"}

    @Note.responder
    def note(self, text):
        if text == "declared":
            raise Oops(text)
        if text == "undeclared":
            raise Exception(text)
        self.notes.append(text)
        return {}

    @Notes.responder
    def get_notes(self):
        texts, self.notes[:] = list(self.notes), []
        return {"texts": texts}

    @Hold.responder
    def hold(self, name):
        self.held[name] = defer.Deferred()
        return self.held[name]

    @Release.responder
    def release(self, name):
        self.held.pop(name).callback({"name": name})
        return {}

    @Count.responder
    def count(self, n):
        return {"n": n + 1}

    @CallMeBack.responder
    @defer.inlineCallbacks
    def call_me_back(self, times):
        total = 0
        for i in range(times):
            total += (yield self.callRemote(Count, n=i))["n"]
        return {"total": total}

    @Quit.responder
    def quit(self):
        return {"goodbye": "everyone"}

    @Switch.responder
    def switch(self, name):
        if name == "refuse":
            raise Oops("not today")
        if name == "undeclared":
            raise Exception("secret")
        return Shouter(self)

    @WhoAmI.responder
    def who_am_i(self):
        try:
            return {"name": self.peerCertificate.getSubject().commonName.decode()}
        except error.CertificateError:
            return {"name": ""}

    @amp.StartTLS.responder
    def start_tls(self):
        return self.tls

    @EncryptMe.responder
    def encrypt_me(self):
        from twisted.internet import reactor

        reactor.callLater(0, self.encrypt)
        return {}

    def encrypt(self):
        return self.callRemote(amp.StartTLS, **self.tls)

    @PassFile.responder
    def pass_file(self, file, text):
        os.write(file, text.encode())
        os.close(file)
        r, w = os.pipe()
        os.write(w, text.upper().encode())
        os.close(w)
        from twisted.internet import reactor

        reactor.callLater(1, os.close, r)  # Twisted sends it when it can, and says not when
        return {"file": r}

    @Hang.responder
    def hang(self):
        self.transport.abortConnection()
        return defer.Deferred()

    def amp_MIRROR(self, box):
        """Mirror answers with its arguments, whatever they are."""
        return amp.Box((k, v) for k, v in box.items() if k not in (b"_ask", b"_command"))


# Responders must be methods of the class before it is made.
Responder = type("Responder", (Responder,), {
    "echo_" + kind: cmd.responder(lambda self, v: {"v": v}) for kind, cmd in ECHOES.items()
})


class Reflector:
    """A box receiver that sends every box back."""

    def startReceivingBoxes(self, sender):
        self.sender = sender

    def ampBoxReceived(self, box):
        self.sender.sendBox(box)

    def stopReceivingBoxes(self, reason):
        pass
