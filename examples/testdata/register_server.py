"""RegisterUser, answered by Twisted."""

from serving import serve
from twisted.protocols import amp


class UsernameUnavailable(Exception):
    pass


class RegisterUser(amp.Command):
    arguments = [(b"username", amp.Unicode()), (b"publickey", amp.String())]
    response = [(b"uid", amp.Integer())]
    errors = {UsernameUnavailable: b"username-unavailable"}


users = {}


class Registration(amp.AMP):
    @RegisterUser.responder
    def register(self, username, publickey):
        if username in users:
            raise UsernameUnavailable(f"{username} is taken")
        users[username] = publickey
        print(f"{username}: {publickey!r}", flush=True)
        return {"uid": len(users)}


serve(Registration)
