"""Sizes, colours and ranges of values as a user writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from morphospace.errors import SettingError

Colour = tuple[int, int, int]
_LEAST, _MOST = 8, 4096
_COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}


def parse_size(text: str | int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Height and width from `64`, `"64"`, `"64x48"` (height x width) or `(64, 48)`; None stays None.

    Raises:
        SettingError: If it is not written so, or if a side is not from 8 to 4096.

    >>> parse_size("64x48")
    (64, 48)
    """
    if text is None:
        return None
    words = text if isinstance(text, tuple) else re.split("[x×]", str(text).strip().lower())
    digits = [str(word).strip() for word in words]
    if isinstance(text, bool) or len(digits) not in (1, 2) or not all(re.fullmatch("[0-9]{1,9}", d) for d in digits):
        raise SettingError("size", text, "must be a number or HEIGHTxWIDTH", "write for instance 64 or 64x48")
    height, width = int(digits[0]), int(digits[-1])
    if not all(_LEAST <= side <= _MOST for side in (height, width)):
        raise SettingError("size", text, f"each side must be from {_LEAST} to {_MOST} pixels", "64 suits most")
    return height, width


def parse_background(text: str | None) -> Colour | None:
    """The colour of `black`, `white`, `grey` or `#rrggbb`; None for None and for `keep`, which paints nothing.

    Raises:
        SettingError: If it is another word.

    >>> parse_background("#ff8000")
    (255, 128, 0)
    """
    if text is None or text == "keep":
        return None
    if text in _COLOURS:
        return _COLOURS[text]
    if isinstance(text, str) and re.fullmatch("#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
        return red, green, blue
    raise SettingError("background", text, "must be black, white, grey, #rrggbb, or keep to paint nothing")


def written_colour(colour: Colour) -> str:
    """Return a colour as `parse_background` reads it.

    >>> written_colour((255, 128, 0))
    '#ff8000'
    """
    return "#" + bytes(colour).hex()


def parse_range(text: str | None) -> Literal["auto"] | tuple[float, float] | None:
    """The lowest and highest value of `LOW:HIGH`; `auto` and None stay what they are.

    Raises:
        SettingError: If it is written otherwise, or the second number is not above the first.

    >>> parse_range("-1000:3000")
    (-1000, 3000)
    """
    if text is None or text == "auto":
        return None if text is None else "auto"
    try:
        low, high = (_number(word) for word in text.split(":"))
    except ValueError:
        raise SettingError("range", text, "must be auto or LOW:HIGH", "write for instance 0:4095") from None
    if not low < high or not math.isfinite(high - low):
        raise SettingError("range", text, "the second number must be above the first", "write for instance 0:4095")
    return low, high


def _number(word: str) -> float:
    value = float(word)
    return int(value) if value.is_integer() else value


def written_range(values: Sequence[float]) -> str:
    """Return a range as `parse_range` reads it.

    >>> written_range((0.0, 0.25))
    '0:0.25'
    """
    return ":".join(str(_number(str(value))) for value in values)
