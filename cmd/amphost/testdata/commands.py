"""The commands of the plugins, as a Twisted program declares them."""

from twisted.protocols import amp


class UsernameUnavailable(Exception):
    pass


class InvalidKey(Exception):
    pass


class Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Divide(amp.Command):
    arguments = [(b"numerator", amp.Integer()), (b"denominator", amp.Integer())]
    response = [(b"result", amp.Float())]
    errors = {ZeroDivisionError: b"ZERO_DIVISION"}


class Count(amp.Command):
    arguments = [(b"n", amp.Integer())]
    response = [(b"ok", amp.Boolean())]


class RegisterUser(amp.Command):
    arguments = [(b"username", amp.Unicode()), (b"publickey", amp.String())]
    response = [(b"uid", amp.Integer())]
    errors = {
        UsernameUnavailable: b"username-unavailable",
        InvalidKey: b"invalid-publickey",
    }
