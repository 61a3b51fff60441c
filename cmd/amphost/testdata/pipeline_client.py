"""A thousand Sums sent before the first answer is read."""

from commands import Sum
from dial import run
from twisted.internet.defer import gatherResults


async def main(connection):
    answers = await gatherResults([connection.callRemote(Sum, a=i, b=i * i) for i in range(1000)])
    wrong = [i for i, answer in enumerate(answers) if answer != {"total": i + i * i}]
    assert not wrong, wrong
    print(len(answers), "right answers")


run(main)
