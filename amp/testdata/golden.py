"""What Twisted makes of values on the wire.

    python3 golden.py > golden.jsonl      the recorded cases
    python3 golden.py serve               lines "TYPE HEX" in, an answer each out

Each case is a text that some peer may send as a value of some type. Twisted
decodes it and encodes what came out: "canonical" is the text of that, null if
Twisted refuses to decode it, and "" with "unencodable" set if it decodes to
something that cannot be encoded again. Bytes are written as Latin-1.

Needs Twisted, which Debian calls python3-twisted.
"""

import datetime
import json
import math
import sys
from decimal import Decimal
from struct import pack

from twisted.protocols import amp
from twisted.python.filepath import FilePath

INNER = [(b"x", amp.Integer()), (b"y", amp.Unicode(optional=True))]
TYPES = {
    "Integer": amp.Integer(),
    "String": amp.String(),
    "Unicode": amp.Unicode(),
    "Float": amp.Float(),
    "Boolean": amp.Boolean(),
    "Decimal": amp.Decimal(),
    "DateTime": amp.DateTime(),
    "Path": amp.Path(),
    "ListOf(Integer)": amp.ListOf(amp.Integer()),
    "ListOf(String)": amp.ListOf(amp.String()),
    "ListOf(Unicode)": amp.ListOf(amp.Unicode()),
    "ListOf(Float)": amp.ListOf(amp.Float()),
    "ListOf(Boolean)": amp.ListOf(amp.Boolean()),
    "ListOf(Decimal)": amp.ListOf(amp.Decimal()),
    "ListOf(DateTime)": amp.ListOf(amp.DateTime()),
    "ListOf(ListOf(Integer))": amp.ListOf(amp.ListOf(amp.Integer())),
    "AmpList": amp.AmpList(INNER),
    "AmpList(AmpList)": amp.AmpList(
        [(b"rows", amp.AmpList(INNER)), (b"a-b", amp.ListOf(amp.Boolean(), optional=True))]
    ),
}


def zone(**offset):
    return datetime.timezone(datetime.timedelta(**offset))


def when(tz, *fields):
    return datetime.datetime(*fields, tzinfo=tz)


def elements(*texts):
    return b"".join(pack("!H", len(text)) + text for text in texts)


def box(*pairs):
    return b"".join(elements(key, value) for key, value in pairs) + b"\0\0"


# Python values, in the text that Twisted sends for them.
VALUES = {
    "Integer": [0, 1, -1, 13, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1,
                2**64, -(2**64), 10**116, -(10**116), 10**4299, True],
    "String": [b"", b"\0\xff\r\n", b"True", bytes(range(256))],
    "Unicode": ["", "h\u00e9llo", "\u2603", "e\u0301", "\ufeff", "\0", "\U0010ffff", "\uffff"],
    "Float": [0.0, -0.0, 1.0, -1.0, 0.1, 1.5, 100.0, 1e15, 123456789012345.6, 1e16, 1.2e16,
              9007199254740993.0, 9999999999999998.0, 1e-4, 0.00012345, 1e-5, 9.999999999999999e-05, 1e22, 1e23, 5e-324,
              2.2250738585072014e-308, 1.7976931348623157e308, math.pi, 1 / 3, 1e100, 1e-100,
              float("inf"), float("-inf"), float("nan")],
    "Boolean": [True, False],
    "Decimal": [Decimal(s) for s in """0 -0 1 -1 1.10 1.1 10 100 1E+2 1E-1 0E-7 0E-6 0E+3 0.0 0.00 1.5E-9
                0.00003141 0.000003141 0.0000003141 1E-6 1E-7 12345678901234567890.0987654321 1.23E+5 123E+3 -12.5E+20
                Infinity -Infinity NaN -NaN sNaN -sNaN NaN123 sNaN7 1E+999999999999999999
                1E-1999999999999999997 9.99E-5 99999E-9 0.1 00.100""".split()],
    "DateTime": [
        when(amp.utc, 2012, 1, 23, 12, 34, 56, 54321),
        when(zone(hours=1, minutes=23), 2012, 1, 23, 12, 34, 56, 54321),
        when(zone(hours=-1, minutes=-23), 2012, 1, 23, 12, 34, 56, 54321),
        when(zone(seconds=30), 1, 1, 1), when(zone(seconds=-30), 9999, 12, 31, 23, 59, 59, 999999),
        when(zone(seconds=90), 2000, 2, 29), when(zone(seconds=-90), 2000, 2, 29),
        when(zone(hours=23, minutes=59), 1970, 1, 1), when(zone(hours=-23, minutes=-59), 1970, 1, 1),
    ],
    "Path": [FilePath(p) for p in ["/", "/tmp", "/tmp/../etc/./passwd", "/h\u00e9/llo", "/a//b/"]],
    "ListOf(Integer)": [[], [1], [1, 20, -500], list(range(300))],
    "ListOf(String)": [[b""], [b"", b"a"], [b"\0\x01"]],
    "ListOf(Unicode)": [["", "\u2603"]],
    "ListOf(Float)": [[1.0, float("inf"), -0.0]],
    "ListOf(Boolean)": [[True, False]],
    "ListOf(Decimal)": [[Decimal("1E+2"), Decimal("-sNaN")]],
    "ListOf(DateTime)": [[when(amp.utc, 2012, 1, 23)]],
    "ListOf(ListOf(Integer))": [[[1, 2], []], [[]], []],
    "AmpList": [[], [{"x": 7, "y": "hello"}, {"x": 9}], [{"x": 1, "y": ""}]],
    "AmpList(AmpList)": [[{"rows": [{"x": 1}, {"x": 2, "y": "z"}], "a_b": [True]}, {"rows": []}]],
}

# Text that is not, or not quite, what Twisted sends.
TEXTS = {
    "Integer": [b"", b" 7 ", b"\t7\n", b"\x0b7\x0c\r", b"+5", b"007", b"-0", b"+0", b"-007", b"1_000", b"1_0_0", b"1.0",
                b"1e3", b"0x10", b"0b1", b"--1", b"+-1", b"- 1", b"_1", b"1_", b"1__0", b"-_1", b"_", b"-", b"+", b" ",
                b"7\0", b"7 7", b"\xd9\xa1", b"\xa07", b"\x857", b"\x1c7", b"12x", b"9" * 4300, b"9" * 4301, b"-" + b"9" * 4300,
                b"0" * 4301, b"1_" * 4299 + b"1", b"18446744073709551616", b"9223372036854775808", b"-9223372036854775809",
                b"99999999999999999999"],
    "Unicode": [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x98", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80",
                b"\xef\xbb\xbfx"],
    "Float": [b"", b"1", b" 1.5 ", b"1E5", b"1e5", b".5", b"5.", b"+1.5", b"1_0.5", b"1_0.5_0e1_0", b"1_.5", b"1._5", b"1_e5",
              b"1e_5", b"_1", b"1_", b"1__0", b"inf", b"Infinity", b"-INF", b"+inf", b"INFINITY", b"nan", b"-nan", b"+NaN",
              b"1e400", b"-1e400", b"1e-400", b"-1e-400", b"1,5", b"0x1p3", b"0x10", b"1.5f", b"nan(1)", b"1d5", b"1e", b"1e+",
              b".", b"-", b"e5", b".e5", b"1.e5", b"infinit", b"inf inity", b"i_nf", b"1 2", b"+ 1", b"1\0", b"\x1c1", b"\x851",
              b"1e99999999999999999999", b"1e-99999999999999999999", b"0e99999999999999999999", b"-0e-1", b"+1e+05",
              b"9007199254740993", b"9007199254740992.9999", b"1" * 400, b"1" + b"0" * 900 + b"e-900", b"1" + b"0" * 850 + b"e-850",
              b"1" * 1200 + b"e-1199", b"0" * 900 + b"1" + b"0" * 900 + b".5e-9_00", b"0" * 400, b"." + b"0" * 400, b"0." + b"0" * 900 + b"17e902",
              b"179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880",
              b"2.2250738585072011e-308", b"2.4703282292062327e-324", b"2.4703282292062328e-324"],
    "Boolean": [b"", b"true", b"TRUE", b"1", b"0", b" True", b"True\n", b"Tru", b"Falsee", b"None"],
    "Decimal": [b"", b"inf", b"INFINITY", b"-iNf", b"nan", b"NAN0012", b"snan", b"-SNaN00", b"nan_1", b"nanx", b"nan 1", b"nan-1",
                b"1e2", b"1E-2", b".5", b"5.", b"5.e1", b".5e-1", b"+1", b" 1 ", b"\t1\x1f", b"\x1c1", b"1_0", b"_", b"_1_", b"1__0",
                b"I_nf", b"1_e_5", b"1e5_0", b"_ 1", b"007", b"-000", b"00.00", b"-0e5", b"1,5", b"0x10", b"\xd9\xa1", b"\xc2\xa01",
                b"1 1", b"+ 1", b"+-1", b"1e", b"1e+", b".", b".e1", b"E", b"infinit", b"1\0",
                b"1e999999999999999999", b"1e1000000000000000000", b"10e999999999999999999", b"0.001e1000000000000000002",
                b"1e-1999999999999999997", b"1e-1999999999999999998", b"0.1e-1999999999999999997",
                b"0e999999999999999999", b"0e1000000000000000000", b"0.0e1000000000000000000", b"0e-1999999999999999997",
                b"0e-1999999999999999998", b"1e9223372036854775807", b"1e9223372036854775808", b"1e-9223372036854775808",
                b"0e99999999999999999999", b"0.1e-9223372036854775808",
                b"10e9223372036854775807", b"123.4e-9223372036854775808", b"10e-1999999999999999997", b"1" * 5000, b"0." + b"0" * 5000 + b"1"],
    "DateTime": [b"", b"2012-01-23T12:34:56.054321-01:23 ", b"2012-01-23T12:34:56.054321Z", b"2012-01-23T12:34:56.054321+00:00",
                 b"2010/12/25x00x00x00x000000+01x00", b" 201-+1- 2T 0:+0: 0.1_0000+ 1:+2", b"0000-01-01T00:00:00.000000+00:00",
                 b"0001-01-01T00:00:00.000000+23:59", b"9999-12-31T23:59:59.999999-23:59", b"2012-13-01T00:00:00.000000+00:00",
                 b"2012-00-01T00:00:00.000000+00:00", b"2012-02-30T00:00:00.000000+00:00", b"2011-02-29T00:00:00.000000+00:00",
                 b"1900-02-29T00:00:00.000000+00:00", b"2000-02-29T00:00:00.000000+00:00", b"2012-01-00T00:00:00.000000+00:00",
                 b"2012-01-01T24:00:00.000000+00:00", b"2012-01-01T00:60:00.000000+00:00", b"2012-01-01T00:00:60.000000+00:00",
                 b"2012-01-01T00:00:-1.000000+00:00", b"2012-01-01T00:00:00.-00001+00:00", b"2012-01-01T00:00:00.-00000+00:00",
                 b"2012-01-01T00:00:00.000000 00:00", b"2012-01-01T00:00:00.000000Z00:00", b"2012-01-01T00:00:00.000000+99:99",
                 b"2012-01-01T00:00:00.000000-99:99", b"2012-01-01T00:00:00.000000+24:00", b"2012-01-01T00:00:00.000000+23:60",
                 b"2012-01-01T00:00:00.000000+-1:30", b"2012-01-01T00:00:00.000000--1:-1", b"2012-01-01T00:00:00.000000+ x:00",
                 b"2012\xc3\xa901-01T00:00:00.000000+00:0", b"2012\xff01-01T00:00:00.000000+00:00", b"-012-01-01T00:00:00.000000+00:00",
                 b"20_2-01-01T00:00:00.000000+00:00", b"202_-01-01T00:00:00.000000+00:00"],
    "Path": [b"\xff", b"/\xed\xa0\x80", b"/a/../../b", b"///a", b"/..", b"/a/./b/..//c"],
    "ListOf(Integer)": [b"\0", b"\0\0", b"\0\x011\0\x0599", b"\0\x011\0", b"\0\x01x", elements(b" 1 ", b"+2")],
    "ListOf(String)": [b"\xff\xff", elements(b"a") + b"\0\x05abc"],
    "ListOf(Unicode)": [elements(b"a", b"\xff")],
    "ListOf(Boolean)": [elements(b"True", b"")],
    "ListOf(ListOf(Integer))": [elements(elements(b"1") + b"\0\x09", b"\0"), elements(elements(b"x"))],
    "AmpList": [
        b"\0", b"\0\0", b"\0\0\0\0", box((b"x", b"1"))[:-1], box((b"x", b"1"))[:-2], box((b"x", b"1")) + b"\0\x01x\0",
        box((b"y", b"only"), (b"x", b"1"), (b"z", b"unknown")), box((b"y", b"only")), box((b"x", b"")),
        box((b"x", b"bad"), (b"x", b"2")), box((b"x", b"1")) + b"\1\0", box((b"x", b"1")) + b"\1", b"\1\0" + box((b"x", b"1")),
        box((b"x", b"1"), (b"y", b"\xff")), box((b"x", b"1"), (b"k" * 255, b"")), box((b"_ask", b"1"), (b"x", b"1")),
    ],
    "AmpList(AmpList)": [box((b"rows", box((b"x", b"1")) + b"\0")), box((b"rows", b"\1\0")), box((b"a-b", b"")), box((b"rows", b""), (b"a-b", b""))],
}


def judge(kind, text):
    """Decode text and encode it again: (canonical or None, unencodable)."""
    argument, objects, out = TYPES[kind], {}, {}
    try:
        argument.fromBox(b"v", {b"v": text}, objects, None)
    except Exception:
        return None, False
    try:
        argument.toBox(b"v", out, objects, None)
    except Exception:
        return b"", True
    return out[b"v"], False


def cases():
    for kind, argument in TYPES.items():
        for value in VALUES.get(kind, ()):
            out = {}
            argument.toBox(b"v", out, {"v": value}, None)
            yield kind, out[b"v"]
        for text in TEXTS.get(kind, ()):
            yield kind, text


def record():
    for kind, text in cases():
        canonical, unencodable = judge(kind, text)
        case = {"type": kind, "text": text.decode("latin-1")}
        case["canonical"] = None if canonical is None else canonical.decode("latin-1")
        if unencodable:
            case["unencodable"] = True
        print(json.dumps(case))


def serve():
    for line in sys.stdin:
        kind, text = line.rstrip("\n").split(" ")
        canonical, unencodable = judge(kind, bytes.fromhex(text))
        if canonical is None:
            print("refused")
        elif unencodable:
            print("unencodable")
        else:
            print("=" + canonical.hex())


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else record()
