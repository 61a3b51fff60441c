"""Sum, Divide, a division by zero, and Sum again over the same connection."""

from commands import Divide, Sum
from dial import run


async def main(connection):
    print(await connection.callRemote(Sum, a=13, b=81))
    print(await connection.callRemote(Divide, numerator=1234, denominator=2))
    try:
        await connection.callRemote(Divide, numerator=1234, denominator=0)
    except ZeroDivisionError as e:
        print(f"ZeroDivisionError: {e}")
    print(await connection.callRemote(Sum, a=-(2**53 - 1), b=2**53 - 1))


run(main)
