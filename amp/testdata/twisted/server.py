"""Twisted servers for a client in Go."""

from twisted.internet import protocol, reactor, ssl
from twisted.protocols import amp

import commands

ports = []


class NoTLS(commands.Responder):
    """Twisted as it is without OpenSSL."""

    def dataReceived(self, data):
        have, amp.ssl = amp.ssl, None
        try:
            super().dataReceived(data)
        finally:
            amp.ssl = have


class Locator(amp.CommandLocator):
    """What an AMP asks that was given a locator: it knows no StartTLS."""

    @commands.Sum.responder
    def sum(self, a, b):
        return {"total": a + b}


def certificates(certificate=None, authority=None):
    """The arguments that StartTLS takes, from PEM files."""
    tls = {}
    if certificate:
        with open(certificate) as f:
            tls["tls_localCertificate"] = ssl.PrivateCertificate.loadPEM(f.read())
    if authority:
        with open(authority) as f:
            tls["tls_verifyAuthorities"] = [ssl.Certificate.loadPEM(f.read())]
    return tls


def responder(**files):
    tls = certificates(**files)

    def build():
        r = commands.Responder()
        r.tls = tls
        r.notes = []
        return r

    return build


SERVERS = {
    "responder": responder,
    "no-tls": lambda: NoTLS,
    "locator": lambda: lambda: amp.AMP(locator=Locator()),
    "reflector": lambda: lambda: amp.BinaryBoxProtocol(commands.Reflector()),
}


def listen(kind, unix=None, **args):
    factory = protocol.Factory.forProtocol(SERVERS[kind](**args))
    factory.noisy = False
    if unix:
        ports.append(reactor.listenUNIX(unix, factory))
        return unix
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    ports.append(port)
    return "127.0.0.1:%d" % port.getHost().port
