"""Prints a corpus of texts and what CPython makes of each, one JSON object a line.

    python3 corpus.py SEED CASES

The same seed gives the same corpus on the same Python. A line: `text` (base64), `group` (how it was
made), `verdict`, `dialect`, `detail` (the compact JSON, or why there is none).
"""

import array
import base64
import collections
import datetime
import decimal
import json
import pathlib
import pprint
import random
import sys
import uuid

from judge import judge, zoneinfo

SPECIAL = [
    "'", '"', "\\", "\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\xa0", "é", "ß", "漢", "\u2028", "\ufeff",
    "\uffff", "😀", "\U0010ffff", "\ud800", "\udfff", "\ud83d\ude00", "{", "}", "[", "]", "(", ")", ",", ":", "#",
    '{"a": 1}', "{'a': 1}", '"""', "'''", "\\'", '\\"', "\\\\", "\\u0041", "\\n", "None", "nan", "\f", "\b", "/",
]
HOT = [bytes([byte]) for byte in b"{}[]()'\",:\\ \n\r\t\f0123456789eE+-.xjJruRbBoOnNtTfFL_#/*\0\x1b"]
HOT += [b"\xff", b"\xc3", b"\xf0\x9f", b"\xed\xa0\x80", b'"""', b"'''", b"\\u", b"\\x", b"\\ud83d", b"nan", b"inf"]
HOT += [b"True", b"null", b"NaN", b"-Infinity", b"{}", b"[]", b"()", b"set()", b",,", b"1_0", b"0x1f", b"...", b"\\\n"]


class Values:
    """Random Python values."""

    def __init__(self, rng, python):
        self.rng, self.python = rng, python

    def text(self):
        rng = self.rng
        parts = []
        for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 12])):
            parts.append(rng.choice(SPECIAL) if rng.random() < 0.4 else chr(rng.randrange(32, 127)) * rng.randrange(1, 4))
        return "".join(parts)

    def integer(self):
        rng = self.rng
        size = rng.choice([1, 1, 3, 9, 19, 20, 40, 400])
        return rng.choice([1, 1, -1]) * rng.randrange(10**size)

    def real(self):
        rng = self.rng
        return rng.choice([
            0.0, -0.0, 1.5, -2.25, 1e16, 1e-7, 5e-324, 1.7976931348623157e308, 1e400, -1e400, float("nan"),
            rng.random(), rng.uniform(-1e9, 1e9), rng.random() * 10.0 ** rng.randrange(-300, 300),
        ])

    def scalar(self):
        rng = self.rng
        roll = rng.random()
        if roll < 0.4:
            return self.text()
        if roll < 0.6:
            return self.integer()
        if roll < 0.75:
            return self.real()
        if self.python and roll < 0.77:
            return complex(rng.choice([0, 1, -2.5, 1e30]), rng.choice([1, -1, 0.5, 1e-9]))
        if self.python and roll < 0.775:
            return self.text().encode("utf-8", "replace")
        return rng.choice([None, True, False])

    def key(self):
        roll = self.rng.random()
        if roll < 0.8:
            return self.text()
        if self.python and roll < 0.83:
            return tuple(self.key() for _ in range(self.rng.randrange(3)))
        return self.rng.choice([self.integer, self.real, lambda: None, lambda: True, lambda: False])()

    def value(self, depth):
        rng = self.rng
        if depth == 0 or rng.random() < 0.5:
            return self.scalar()
        size = rng.choice([0, 1, 2, 3, 6])
        roll = rng.random()
        if roll < 0.45:
            return self.object(depth, size)
        if not self.python or roll < 0.75:
            return [self.value(depth - 1) for _ in range(size)]
        if roll < 0.92:
            return tuple(self.value(depth - 1) for _ in range(size))
        return {hashed(self.key()) for _ in range(size)}

    def object(self, depth, size=None):
        size = self.rng.randrange(6) if size is None else size
        return {self.key(): self.value(depth - 1) for _ in range(size)}


def hashed(key):
    """A key that a set has at the same place in each run: None (before Python 3.12) and nan are hashed by their address."""
    if isinstance(key, tuple):
        return tuple(map(hashed, key))
    return False if key is None or key != key else key


class Text:
    """Random text in the grammar of JSON or of Python's literals, now and then beside it."""

    def __init__(self, rng, python):
        self.rng, self.python = rng, python

    def space(self):
        spaces = ["", "", "", " ", "  ", "\n", "\t", "\r\n", " \n  "] + (["\f", "\r"] if self.python else [])
        return self.rng.choice(spaces)

    def json_string(self):
        rng = self.rng
        parts = []
        for _ in range(rng.choice([0, 1, 2, 4, 9])):
            parts.append(rng.choice([
                "a", "Z", " ", "'", "/", "é", "漢", "😀", "\u2028", "\x7f", "{", "}", "[", ",", ":",
                '\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\ud83d\\ude00",
                "\\ud83d", "\\ude00", "\\uDFFF", "\\u0000", "\\u0022", "\\u005c", "\\u2028",
            ]))
        if rng.random() < 0.02:
            parts.append(rng.choice(["\n", "\t", "\\x41", "\\'", "\\u12", "\\uzzzz", "\0"]))
        return '"' + "".join(parts) + '"'

    def json_number(self):
        rng = self.rng
        text = rng.choice(["", "", "-"]) + rng.choice(["0", "0", "7", "12", "9" * 25, "1" + "0" * 200])
        text += rng.choice(["", "", ".0", ".5", ".000", ".12345678901234567890"])
        text += rng.choice(["", "", "", "e5", "E5", "e+5", "E-05", "e400", "e-400", "e0"])
        if rng.random() < 0.02:
            text = rng.choice(["01", "+1", "1.", ".5", "1e", "-", "0x10", "1_000", "NaN1", "--1", "1.e5"])
        return text

    def python_string(self):
        rng = self.rng
        quote = rng.choice(["'", "'", '"', '"', "'''", '"""'])
        prefix = rng.choice(["", "", "", "", "r", "u", "R", "U"])
        if rng.random() < 0.03:
            prefix = rng.choice(["b", "rb", "Br", "f", "ur", "x", "rr"])
        other = "'" if '"' in quote else '"'
        pieces = ["a", "Z", " ", other, "é", "漢", "😀", "{", "}", "[", ",", ":", "#", "\\\\", "\\n", "\\t", "\\a", "\\v"]
        pieces += ["\\b", "\\f", "\\r", "\\'", '\\"', "\\x41", "\\xe9", "\\x00", "\\u0041", "\\u20ac", "\\U0001F600"]
        pieces += ["\\ud83d\\ude00", "\\udc00", "\\0", "\\7", "\\101", "\\1234", "\\377", "\\8", "\\d", "\\/", "\\\n"]
        pieces += ["\\N{EM DASH}", "\\N{greek small letter alpha}", "\\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"]
        if len(quote) == 3:
            pieces += ["\n", "\r\n", "\r", quote[0], quote[:2], "\t"]
        parts = [rng.choice(pieces) for _ in range(rng.choice([0, 1, 2, 4, 9]))]
        if rng.random() < 0.03:
            parts.append(rng.choice(["\\x4", "\\xzz", "\\u12", "\\U00110000", "\\U0000", "\\400", "\n", "\\", "\x00", "\\N{}", "\\N{NO SUCH}", "\\N"]))
        if parts and parts[-1][-1:] == quote[0] and parts[-1][0] != "\\":
            parts.append("a")
        return prefix + quote + "".join(parts) + quote

    def python_text(self):
        texts = [self.python_string() for _ in range(self.rng.choice([1, 1, 1, 1, 2, 3]))]
        return self.space().join(texts)

    def python_number(self):
        rng = self.rng
        text = rng.choice([
            "0", "00", "0_0", "7", "12", "1_000", "12_345_678", "9" * 40, "0x1F", "0XdeadBEEF", "0x_f", "0o17", "0O7_7",
            "0b101", "0B_1", "0x" + "f" * 100, "0b" + "10" * 90, "1.5", "1.", ".5", "1e5", "1E+5", "1.5e-7", "1_0.2_5e1_0",
            "00.5", "01.5", "09e1", "1e400", "0.0", "1.e5", "5e-324",
        ])
        if rng.random() < 0.05:
            text = rng.choice(["01", "1__0", "1_", "_1", "0x", "0xg", "0b2", "0o8", "1e", "1.5.2", "1L", "0_", "1._5", "1e_5"])
        if rng.random() < 0.05:
            text = rng.choice(["2j", "1.5J", "0j", "1e5j", "1+2j", "(1-2.5j)", "1.5 + 2j", "-1-2j", "1+2", "2j+1", "1_0j"])
            return text if rng.random() < 0.5 else f"({text})"
        return rng.choice(["", "", "", "-", "+", "- "]) + text

    def scalar(self):
        roll = self.rng.random()
        if roll < 0.45:
            return self.python_text() if self.python else self.json_string()
        if roll < 0.75:
            return self.python_number() if self.python else self.json_number()
        if self.python:
            if roll < 0.78:
                return self.rng.choice(["nan", "inf", "-inf", "NaT", "...", "b''", "set()", "-True", "true", "null", "NaN", "x"])
            return self.rng.choice(["None", "True", "False", "()", "[]", "{}"])
        if roll < 0.78:
            return self.rng.choice(["NaN", "Infinity", "-Infinity", "nan", "True", "None", "-NaN"])
        return self.rng.choice(["null", "true", "false", "[]", "{}"])

    def key(self):
        rng = self.rng
        if not self.python:
            return rng.choice(['"a"', '"b"', '""', self.json_string()])
        roll = rng.random()
        if roll < 0.7:
            return rng.choice(["'a'", '"b"', "''", self.python_text()])
        if roll < 0.8:
            return f"({self.key()},{self.space()}{self.scalar()})"
        return self.scalar()

    def closed(self, opening, members, closing, trailing):
        comma = trailing and members and self.rng.random() < 0.2
        separator = f"{self.space()},{self.space()}"
        return opening + self.space() + separator.join(members) + ("," if comma else "") + self.space() + closing

    def value(self, depth):
        rng = self.rng
        if depth == 0 or rng.random() < 0.4:
            return self.scalar()
        roll = rng.random()
        if roll < 0.4:
            return self.object(depth)
        members = [self.value(depth - 1) for _ in range(rng.randrange(4))]
        if not self.python or roll < 0.7:
            return self.closed("[", members, "]", self.python)
        if roll < 0.8:
            return f"({self.space()}{self.value(depth - 1)}{self.space()})"
        if roll < 0.93:
            return self.closed("(", members, ",)" if len(members) == 1 else ")", len(members) > 1)
        return self.closed("{", [self.scalar() for _ in range(rng.randrange(1, 4))], "}", True)

    def object(self, depth):
        members = []
        for _ in range(self.rng.choice([0, 1, 1, 2, 3, 6])):
            members.append(f"{self.key()}{self.space()}:{self.space()}{self.value(depth - 1)}")
        return self.closed("{", members, "}", self.python)

    def whole(self):
        if self.rng.random() < 0.05:
            return self.value(2)
        text = self.object(self.rng.randrange(1, 5))
        if self.python and self.rng.random() < 0.05:
            text = f"({self.space()}{text}{self.space()})"
        return self.space() + text + self.space()


def dumped(rng):
    value = Values(rng, python=False).object(rng.randrange(1, 5))
    options = {
        "indent": rng.choice([None, None, 0, 1, 2, 4, "\t"]),
        "ensure_ascii": rng.random() < 0.5,
        "separators": rng.choice([None, (",", ":"), (" , ", " : ")]),
        "sort_keys": False,
    }
    if all(isinstance(key, str) for key in value):
        try:
            return json.dumps(value, **{**options, "sort_keys": rng.random() < 0.5})
        except TypeError:
            pass
    return json.dumps(value, **options)


def pretty(rng):
    value = Values(rng, python=True).object(rng.randrange(1, 5))
    width, compact = rng.choice([1, 20, 80]), rng.random() < 0.5
    return pprint.pformat(value, indent=rng.choice([1, 2]), width=width, compact=compact, sort_dicts=False)


def zone(rng):
    zones = [None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(seconds=rng.randrange(-86399, 86400)))]
    try:
        zones += [zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Europe/Paris")]
    except Exception:
        # A machine without a database of time zones.
        pass
    return rng.choice(zones)


def called(rng):
    """A value that the standard library prints as a call."""
    micros = rng.choice([0, 0, 7, 500_000, 999_999])
    day = datetime.date(rng.randrange(1, 10_000), rng.randrange(1, 13), rng.randrange(1, 29))
    time = datetime.time(rng.randrange(24), rng.randrange(60), rng.choice([0, 30, 59]), micros, zone(rng), fold=rng.randrange(2))
    text = Values(rng, python=True).text().replace("\ud800", "").replace("\udfff", "").replace("\0", "")
    return rng.choice([
        lambda: day,
        lambda: time,
        lambda: datetime.datetime.combine(day, time),
        lambda: datetime.timedelta(rng.randrange(-9, 9), rng.randrange(86_400), micros),
        lambda: zone(rng),
        lambda: decimal.Decimal(rng.choice(["1.50", "-0", "1E+3", "NaN", "-Infinity", "123456789012345678901234567890.5"])),
        lambda: uuid.UUID(int=rng.randrange(2**128)),
        lambda: pathlib.PurePosixPath(text or "."),
        lambda: array.array(rng.choice("bhilq"), [rng.randrange(-99, 99) for _ in range(rng.randrange(4))]),
        lambda: array.array("d", [rng.choice([0.5, -1.0, 1e300])] * rng.randrange(3)),
        lambda: collections.OrderedDict((str(n), called(rng)) for n in range(rng.randrange(3))),
        lambda: collections.Counter("abracadabra"[: rng.randrange(11)]),
        lambda: collections.deque([called(rng)], maxlen=rng.choice([None, 3])),
        lambda: frozenset(range(rng.randrange(3))),
        lambda: complex(rng.choice([-0.0, 0.0, -1.0, 2.5]), rng.choice([-0.0, 1.0, -2.5])),
    ])()


def calls(rng):
    return repr({key: called(rng) for key in "abcd"[: rng.randrange(1, 5)]})


def deep(rng):
    depth = rng.randrange(20, 60)
    kinds = rng.choice([[("[", "]")], [('{"a":', "}")], [("[", "]"), ('{"a":', "}")], [("(", ",)"), ("{'a':", "}")]])
    text = rng.choice(["1", '"x"', "[]"])
    for _ in range(depth):
        opening, closing = rng.choice(kinds)
        text = opening + text + closing
    return '{"deep":' + text + "}"


MAKERS = {
    "json.dumps": dumped,
    "json.text": lambda rng: Text(rng, python=False).whole(),
    "python.repr": lambda rng: repr(Values(rng, python=True).object(rng.randrange(1, 5))),
    "python.pprint": pretty,
    "python.text": lambda rng: Text(rng, python=True).whole(),
    "deep": deep,
    "python.calls": calls,
}


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        roll = rng.random()
        if roll < 0.35:
            data[at:at] = rng.choice(HOT)
        elif roll < 0.65:
            del data[at:at + rng.choice([1, 1, 1, 2, 5])]
        elif roll < 0.8:
            data[at:at + 2] = data[at:at + 2][::-1]
        elif roll < 0.9:
            data[at:at + 1] = rng.choice(HOT)
        else:
            other = rng.randrange(len(data) + 1)
            data[at:at] = data[other:other + rng.randrange(1, 12)]
    return bytes(data)


def main():
    seed, cases = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    weights = [6, 6, 8, 4, 12, 1, 4]
    for _ in range(cases):
        group = rng.choices(list(MAKERS), weights)[0]
        data = MAKERS[group](rng).encode("utf-8", "surrogatepass")
        roll = rng.random()
        if roll < 0.35:
            group, data = group + ", mutated", mutated(rng, data)
        elif roll < 0.42:
            cut = data.rstrip(b" \t\r\n\f")
            group, data = group + ", cut", cut[:rng.randrange(max(len(cut), 1))]
        verdict, dialect, detail = judge(data)
        line = {"text": base64.b64encode(data).decode(), "group": group, "verdict": verdict}
        print(json.dumps({**line, "dialect": dialect, "detail": detail}))


if __name__ == "__main__":
    main()
