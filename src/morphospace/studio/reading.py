"""Values taken out of what a page sent, each checked: type, size, finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from morphospace.errors import require

MOST_DIMS = 65_536
LARGEST = 1e3  # of a number in a code: far outside of any prior, and still finite after a network
TEXT = 400


class Reader:
    """Takes checked values out of a JSON object."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.message = message

    def text(self, name: str, default: str | None = None, known: tuple[str, ...] = ()) -> str:
        """Return a short text; one of `known` where there are any."""
        value = self.message.get(name, default)
        require(isinstance(value, str) and len(value) <= TEXT, name, shown(value), f"must be a text of at most {TEXT}")
        require(not known or value in known, name, value, f"must be one of {', '.join(known)}")
        return str(value)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number."""
        value: Any = self.message.get(name, default)
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        require(good, name, shown(value), f"must be a whole number from {low} to {high}")
        return int(value)

    def items(self, name: str, most: int, least: int = 1) -> list[Any]:
        """Return a list of a bounded length."""
        value: Any = self.message.get(name)
        good = isinstance(value, list) and least <= len(value) <= most
        require(good, name, shown(value), f"must be a list of {least} to {most}")
        return list(value)

    def code(self, name: str) -> tuple[float, ...]:
        """Return one code."""
        return vector(name, self.message.get(name))

    def codes(self, name: str, most: int, least: int = 1) -> tuple[tuple[float, ...], ...]:
        """Return several codes of one length."""
        rows = tuple(vector(name, row) for row in self.items(name, most, least))
        require(len({len(row) for row in rows}) == 1, name, len(rows), "must be codes of one length")
        return rows

    def wholes(self, name: str, most: int) -> tuple[int, ...]:
        """Return several whole numbers that may seed a draw."""
        found = self.items(name, most)
        for value in found:
            good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
            require(good, name, shown(value), "must be whole numbers from 0 to 2**63 - 1")
        return tuple(found)

    def has(self, name: str) -> bool:
        """Whether a value is there."""
        return self.message.get(name) is not None


def shown(value: object) -> str:
    """Return a value as a message may hold it: short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def number(name: str, value: Any) -> float:
    """Return a finite number of a sensible size."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    good = good and abs(value) <= LARGEST and math.isfinite(value)
    require(good, name, shown(value), f"must be finite numbers from -{LARGEST:g} to {LARGEST:g}")
    return float(value)


def vector(name: str, value: Any) -> tuple[float, ...]:
    """Return a list of numbers."""
    good = isinstance(value, list) and 1 <= len(value) <= MOST_DIMS
    require(good, name, shown(value), "must be a list of numbers")
    return tuple(number(name, one) for one in value)
