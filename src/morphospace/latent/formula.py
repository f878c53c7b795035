"""Arithmetic on points and directions: `12 - 30 + seed:7`, `12 + 2*Smiling`. Read by hand, never evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass

from morphospace.errors import SettingError, require
from morphospace.records import is_count

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"[^"]*"|'[^']*')
      | (?P<point>(?:seed|train):\d+)
      | (?P<number>\d+\.\d*|\.\d+|\d+)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>[+\-*/()])
    )""",
    re.VERBOSE | re.ASCII,
)
SHOWN = "for instance 12 - 30 + seed:7, or 12 + 2*Smiling; put names and paths with other signs into quotes"
MOST_DEEP = 50


@dataclass(frozen=True)
class Part:
    """A point or direction, and how often it is taken.

    Attributes:
        name: As it was written, without quotes.
        weight: Its factor.
        point: Whether it was written as a point: a number, `train:NUMBER` or `seed:NUMBER`.
    """

    name: str
    weight: float
    point: bool = False


class _Reader:
    """Reads the grammar, by recursive descent.

    sum := term (('+' | '-') term)*;  term := sign* [number '*'] atom ('/' number)*;  atom := name | '(' sum ')'
    """

    def __init__(self, text: str) -> None:
        self.text, self.place, self.deep = text, 0, 0
        self.tokens: list[tuple[str, str]] = []
        end = 0
        while end < len(text.rstrip()):
            match = _TOKEN.match(text, end)
            if match is None:
                raise self.wrong(f"cannot be read at {text[end:].strip()[:12]!r}")
            self.tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            end = match.end()

    def wrong(self, why: str) -> SettingError:
        """Return the error to raise."""
        return SettingError("formula", self.text, why, f"write sums of points and directions, {SHOWN}")

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        """Return the next token, or one further on."""
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        """Return the next token and go on."""
        token = self.peek()
        self.place += 1
        return token

    def sum(self) -> list[Part]:
        """Read terms until what follows is no sign."""
        parts = self.term(1.0)
        while self.peek()[1] in ("+", "-") and self.peek()[0] == "sign":
            parts += self.term(1.0 if self.take()[1] == "+" else -1.0)
        return parts

    def term(self, factor: float) -> list[Part]:
        """Read a term, with signs and a number before it, and a divisor behind."""
        while self.peek() in (("sign", "-"), ("sign", "+")):
            factor *= -1.0 if self.take()[1] == "-" else 1.0
        if self.peek()[0] == "number" and self.peek(1) == ("sign", "*"):
            factor *= float(self.take()[1])
            self.take()
        parts = self.atom()
        while self.peek() == ("sign", "/"):
            self.take()
            kind, value = self.take()
            if kind != "number" or float(value) == 0:
                raise self.wrong(f"/ must be followed by a number that is not 0, not {value!r}")
            factor /= float(value)
        return [Part(part.name, part.weight * factor, part.point) for part in parts]

    def atom(self) -> list[Part]:
        """Read a name, or a sum in brackets."""
        kind, value = self.take()
        if (kind, value) == ("sign", "("):
            self.deep += 1
            if self.deep > MOST_DEEP:
                raise self.wrong("has too many brackets within brackets")
            parts = self.sum()
            if self.take() != ("sign", ")"):
                raise self.wrong("lacks a closing bracket")
            self.deep -= 1
            return parts
        if kind == "number" and not is_count(value):
            raise self.wrong(f"{value} stands alone, where only a whole number, that of an image, may")
        if kind in ("number", "point", "name", "quoted"):
            return [Part(value[1:-1] if kind == "quoted" else value, 1.0, kind in ("number", "point"))]
        raise self.wrong("ends too early" if kind == "end" else f"has {value!r} where a point or direction must be")


def parse_formula(text: str) -> tuple[Part, ...]:
    """Read a sum of points and directions.

    A point is the number of an image, `train:NUMBER`, `seed:NUMBER` or a path in quotes; a direction is a name, in
    quotes where it has other signs than letters, digits and _. Each may have a number before it and brackets around.

    >>> [(part.name, part.weight) for part in parse_formula("12 - 2*(30 - Smiling)/4")]
    [('12', 1.0), ('30', -0.5), ('Smiling', 0.5)]

    Raises:
        SettingError: If the text is no such sum.
    """
    reader = _Reader(text)
    require(bool(reader.tokens), "formula", text, "is empty", f"write sums of points and directions, {SHOWN}")
    parts = reader.sum()
    if reader.peek()[0] != "end":
        raise reader.wrong(f"has {reader.peek()[1]!r} where + or - must be")
    return tuple(parts)
