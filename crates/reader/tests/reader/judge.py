"""What CPython makes of a text, reported by Longshore's rules for results.

JSON is read by `json.loads`, anything else by CPython's own parser and the rules of
`ast.literal_eval`, walked here over the syntax tree so that the text of numbers, the order of sets
and the place of duplicate keys are kept. Where Longshore has a rule of its own, it is named by
"rule" in a comment.
"""

import array
import ast
import collections
import datetime
import decimal
import io
import json
import pathlib
import re
import sys
import tokenize
import uuid
import warnings

sys.setrecursionlimit(10_000)
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(0)
warnings.simplefilter("ignore")

try:
    import zoneinfo
except ImportError:
    zoneinfo = None

# What prints itself as a call, and is read by a rule of Longshore's.
CALLED = {
    "array": array.array,
    "Counter": collections.Counter,
    "datetime": datetime,
    "Decimal": decimal.Decimal,
    "defaultdict": collections.defaultdict,
    "deque": collections.deque,
    "frozenset": frozenset,
    "inf": float("inf"),
    "nan": float("nan"),
    "OrderedDict": collections.OrderedDict,
    "PurePosixPath": pathlib.PurePosixPath,
    "set": set,
    "UUID": uuid.UUID,
    "zoneinfo": zoneinfo,
}

SURROGATE = re.compile("[\ud800-\udfff]")


class Refused(Exception):
    """It is no literal, or not one that has a form in JSON."""


class Ruled(Refused):
    """CPython reads it, and a rule of Longshore's refuses it."""


class Undecided(Exception):
    """Nothing says what Longshore has to make of it."""


class Number(str):
    """The text of a number in JSON."""


class Word(str):
    """`null`, `true` or `false`."""


class Complex(str):
    """The text of a complex number."""


class Pairs(list):
    """The members of a dict in their order, duplicates included."""


NULL, TRUE, FALSE = Word("null"), Word("true"), Word("false")


def emit(value):
    """The compact JSON of a value."""
    if isinstance(value, (Number, Word)):
        return str(value)
    if isinstance(value, str):
        # Rule: each lone surrogate becomes U+FFFD.
        return json.dumps(SURROGATE.sub("\ufffd", str(value)))
    if isinstance(value, Pairs):
        members, numbers = {}, {}
        for key, member in value:
            name = emit(key_text(key))
            if isinstance(key, Number):
                try:
                    other = numbers.setdefault(decimal.Decimal(key), name)
                except decimal.InvalidOperation:
                    raise Undecided("a key of an endless exponent") from None
                if other != name:
                    raise Undecided("two keys are the same number in other words")
            # Rule: the last value in the first place, which is what assignment does.
            members[name] = emit(member)
        return "{" + ",".join(f"{name}:{member}" for name, member in members.items()) + "}"
    return "[" + ",".join(map(emit, value)) + "]"


def key_text(key):
    """Rule: what is no string becomes its JSON text."""
    if isinstance(key, Complex):
        raise Undecided("a complex number as key")
    if isinstance(key, (Number, Word)):
        return str(key)
    if isinstance(key, str):
        return key
    return emit(key)


def plain(value):
    """A value of the standard library in the form that JSON has for it."""
    if value is None or isinstance(value, bool):
        return words(value)
    if isinstance(value, int):
        return Number(value)
    if isinstance(value, float):
        return Number(repr(value)) if value - value == 0 else NULL
    if isinstance(value, decimal.Decimal):
        return Number(value) if value.is_finite() else NULL
    if isinstance(value, (datetime.datetime, datetime.time)) and value.tzinfo is not None:
        zone = value.tzinfo
        if not isinstance(zone, datetime.timezone) and getattr(zone, "key", None) != "UTC":
            raise Ruled("a time zone other than UTC or a fixed offset")
        return value.isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        micros = value // datetime.timedelta(microseconds=1)
        return Number(decimal.Decimal(micros).scaleb(-6).normalize().__format__("f"))
    if isinstance(value, (datetime.tzinfo, uuid.UUID, pathlib.PurePath)):
        return str(value)
    if isinstance(value, array.array) and value.typecode == "u":
        return value.tounicode()
    if isinstance(value, dict):
        return Pairs((plain(key), plain(member)) for key, member in value.items())
    if isinstance(value, (list, tuple, set, frozenset, collections.deque, array.array)):
        return [plain(element) for element in value]
    if isinstance(value, str):
        return value
    raise Undecided(type(value).__name__)


class Json:
    """`json.loads`, keeping the text of numbers."""

    def __init__(self):
        self.nans = 0

    def read(self, text):
        return json.loads(
            text,
            object_pairs_hook=Pairs,
            parse_int=Number,
            parse_float=Number,
            parse_constant=self.nan,
        ), self

    def nan(self, _word):
        self.nans += 1
        return NULL


def words(value):
    """Python's constants in what `json.loads` returned, as ours."""
    if value is None:
        return NULL
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    if isinstance(value, Pairs):
        return Pairs((key, words(member)) for key, member in value)
    if isinstance(value, list):
        return [words(member) for member in value]
    return value


class Literal:
    """The rules of `ast.literal_eval`, and `nan` and `inf`, which `repr` prints and it refuses."""

    def __init__(self, text):
        # As CPython does it before it reads.
        self.text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.names = False
        self.lines = [line.encode() for line in self.text.split("\n")]

    def read(self):
        try:
            tree = ast.parse(self.text, mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise Refused(str(error)) from error
        body = tree.body
        if isinstance(body, ast.Tuple) and body.elts and body.elts[0].col_offset == body.col_offset:
            # Rule: the commas of a text do not make it a tuple.
            raise Ruled("a tuple without parentheses")
        value = self.value(body)
        if "#" in self.text or "\\\n" in self.text:
            self.refuse_comments()
        return value

    def refuse_comments(self):
        """Rule: neither comments nor continued lines are read."""
        end = (1, 0)
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                raise Ruled("a comment")
            if "\\" in self.gap(end, token.start):
                raise Ruled("a continued line")
            end = token.end

    def gap(self, start, end):
        """The text between two (line, character)."""
        lines = self.text.split("\n")[start[0] - 1:end[0]]
        lines[-1] = lines[-1][:end[1]]
        lines[0] = lines[0][start[1]:]
        return "\n".join(lines)

    def between(self, start, end):
        """The text between two (line, column)."""
        (first, left), (last, right) = start, end
        if first == last:
            return self.lines[first - 1][left:right].decode()
        middle = self.lines[first:last - 1]
        return b"\n".join([self.lines[first - 1][left:], *middle, self.lines[last - 1][:right]]).decode()

    def source(self, node):
        return self.between((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))

    def value(self, node):
        if isinstance(node, ast.Constant):
            return self.constant(node)
        if isinstance(node, (ast.Tuple, ast.List)):
            return [self.value(element) for element in node.elts]
        if isinstance(node, ast.Set):
            return [self.hashable(element) for element in node.elts]
        if isinstance(node, ast.Dict):
            if None in node.keys:
                raise Refused("a dict in a dict")
            return Pairs((self.hashable(key), self.value(value)) for key, value in zip(node.keys, node.values))
        if isinstance(node, ast.Call):
            if re.fullmatch(r"set\s*\(\s*\)", self.source(node)):
                return []
            return self.called(node)
        if isinstance(node, ast.Name) and node.id in ("nan", "inf", "NaT"):
            self.names = True
            return NULL
        if isinstance(node, ast.Attribute) and self.source(node) == "datetime.timezone.utc":
            self.names = True
            return "UTC"
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            return self.complex(node)
        if isinstance(node, ast.UnaryOp):
            return self.signed(node)
        raise Refused(type(node).__name__)

    def called(self, node):
        """Rule: what the standard library prints as a call is what it prints for people, as far as JSON goes."""
        try:
            value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}, **CALLED})
            printed = repr(value)
        except Exception as error:
            raise Undecided(f"a call: {error}") from error
        if printed != self.source(node):
            raise Undecided("a call that is not printed so")
        self.names = True
        return plain(value)

    def hashable(self, node):
        if isinstance(node, (ast.List, ast.Dict, ast.Set, ast.Call)):
            raise Refused("unhashable")
        if isinstance(node, ast.Tuple):
            for element in node.elts:
                self.hashable(element)
        return self.value(node)

    def constant(self, node):
        value = node.value
        if value is None:
            return NULL
        if isinstance(value, bool):
            return TRUE if value else FALSE
        if isinstance(value, str):
            return value
        if type(value) in (int, float, complex):
            return self.number(node)
        raise Ruled(f"{type(value).__name__} has no form in JSON")

    def number(self, node):
        if not (isinstance(node, ast.Constant) and type(node.value) in (int, float, complex)):
            raise Refused("no number")
        if isinstance(node.value, int):
            return Number(node.value)
        # Rule: the digits stay as they were printed.
        text = self.source(node).replace("_", "").lower()
        suffix = "j" if text.endswith("j") else ""
        whole, dot, rest = text.rstrip("j").partition(".")
        if dot:
            text = (whole or "0") + "." + (rest if rest[:1].isdigit() else "0" + rest)
        else:
            text = whole
        text = re.sub(r"^0+(?=\d)", "", text)
        assert type(node.value)(text + suffix) == node.value, f"{text!r} is not {node.value!r}"
        return Complex(text + suffix) if suffix else Number(text)

    def signed(self, node):
        if not isinstance(node, ast.UnaryOp):
            return self.number(node)
        if not isinstance(node.op, (ast.UAdd, ast.USub)):
            raise Refused("an operator")
        sign = "-" if isinstance(node.op, ast.USub) else ""
        if isinstance(node.operand, ast.Name) and node.operand.id in ("nan", "inf"):
            if self.source(node) == "-inf":
                self.names = True
                return NULL
            raise Undecided("a sign before a name")
        number = self.number(node.operand)
        start, operand = (node.lineno, node.col_offset), (node.operand.lineno, node.operand.col_offset)
        if "(" in self.between(start, operand):
            # Rule: a sign before a parenthesis is not read.
            raise Ruled("a sign before a parenthesis")
        return type(number)("0" if sign and number == "0" else sign + number)

    def complex(self, node):
        left, right = self.signed(node.left), self.number(node.right)
        if isinstance(left, Complex) or not isinstance(right, Complex):
            raise Refused("a sum")
        start = self.between((node.lineno, node.col_offset), (node.left.lineno, node.left.col_offset))
        middle = self.between(
            (node.left.end_lineno, node.left.end_col_offset), (node.right.lineno, node.right.col_offset)
        )
        if "(" in start + middle:
            raise Undecided("a part of a complex number in parentheses")
        # Rule: a complex number becomes a string, as `str` prints it.
        return Complex(f"({left}{'+' if isinstance(node.op, ast.Add) else '-'}{right})")


def read_literal(text):
    """What `Literal` reads, once `ast.literal_eval` has said the same."""
    try:
        ast.literal_eval(text)
        accepted = True
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        accepted = False
    literal = Literal(text)
    try:
        value = literal.read()
    except Ruled:
        raise
    except Refused as refused:
        assert not accepted, f"literal_eval reads {text!r}, but: {refused}"
        raise
    assert accepted or literal.names, f"literal_eval refuses {text!r}"
    return value


def judge(data):
    """(verdict, dialect, compact JSON or the reason) of bytes; the verdict is one of `object`, `value`
    (but not an object), `broken`, `undecided`."""
    text = data.decode("utf-8", "replace").strip(" \t\n\r\f")
    text = text.removeprefix("\ufeff").strip(" \t\n\r\f")
    try:
        try:
            value, reader = Json().read(text)
            value, dialect = words(value), "JSON_WITH_NAN" if reader.nans else "JSON"
        except ValueError:
            value, dialect = read_literal(text), "PYTHON_LITERAL"
        compact = emit(value)
    except Refused as refused:
        return "broken", None, str(refused)
    except Undecided as undecided:
        return "undecided", None, str(undecided)
    if isinstance(value, Pairs):
        return "object", dialect, compact
    return "value", dialect, compact
