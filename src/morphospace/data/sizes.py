"""Sizes and colours as a user writes them."""

from __future__ import annotations

import re

from morphospace.errors import SettingError

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


def parse_background(text: str | None) -> tuple[int, int, int] | None:
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
