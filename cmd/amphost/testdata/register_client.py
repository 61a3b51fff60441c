"""Registers the users named in argv[2:], one after another."""

import sys

from commands import InvalidKey, RegisterUser, UsernameUnavailable
from dial import run


async def main(connection):
    for name in sys.argv[2:]:
        key = b"ssh-ed25519 AAAA " + name.encode()
        try:
            result = await connection.callRemote(RegisterUser, username=name, publickey=key)
            print("Registration result:", result)
        except UsernameUnavailable as e:
            print("UsernameUnavailable:", e)
    try:
        await connection.callRemote(RegisterUser, username="mallory", publickey=b"key\n3 key")
    except InvalidKey as e:
        print("InvalidKey:", e)


run(main)
