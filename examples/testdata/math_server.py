"""The maths server of Twisted's examples."""

from serving import serve
from twisted.protocols import amp


class Sum(amp.Command):
    arguments = [(b"a", amp.Integer()), (b"b", amp.Integer())]
    response = [(b"total", amp.Integer())]


class Math(amp.AMP):
    @Sum.responder
    def sum(self, a, b):
        total = a + b
        print(f"Did a sum: {a} + {b} = {total}", flush=True)
        return {"total": total}


serve(Math)
