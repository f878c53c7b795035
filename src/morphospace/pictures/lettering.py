r"""Letters of any script: which font has them, how wide a text is, and a text drawn or cut to a width.

DejaVu Sans comes with matplotlib and has Latin, Greek, Cyrillic, Arabic and more. What it lacks, Chinese for instance,
is drawn in a font of the system, if one has it. What no font has is written as an escape, `\u732b`, never as a box.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageDraw, ImageFont

FONT_SIZE = 11
LINE = 13  # pixels from a line to the next
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Ink = str | int | tuple[int, ...]

# Fonts that have whole scripts go first; then any other that has the letter.
PREFERRED = (
    "notosanscjk|sourcehansans|notosans(sc|jp|kr|tc|hk)|droidsansfallback|wqy|pingfang|hiragino|applesdgothic|msyh|"
    "yugoth|meiryo|malgun|simsun|ipa(ex)?g|takao|vlgothic|nanum|arialuni|unifont|symbola|noto.*emoji|segui"
)
MOST_FONTS = 400  # of the system that are looked into


@functools.cache
def default_file() -> str:
    """Return the file of the font of captions and legends."""
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"


@functools.cache
def font(file: str = "", size: int = FONT_SIZE) -> Font:
    """Return a font by its file, the usual one by default."""
    return ImageFont.truetype(file or default_file(), size)


@functools.cache
def system_fonts() -> tuple[str, ...]:
    """Return the files of the system's fonts, those of whole scripts first."""
    from matplotlib.font_manager import findSystemFonts

    def place(file: str) -> tuple[bool, bool, str]:
        name = Path(file).name.lower()
        regular = bool(re.search(r"regular|-?r\.|medium", name)) or "-" not in name
        return not re.match(PREFERRED, name), not regular, file

    return tuple(sorted(findSystemFonts(), key=place)[:MOST_FONTS])


@functools.cache
def _letters(file: str) -> frozenset[int]:
    """Return the code points that a font can draw; none of a font that cannot be opened or has pixels alone."""
    from matplotlib.ft2font import FT2Font

    try:
        face = FT2Font(file)
        font(file).getlength("a")
        return frozenset(face.get_charmap()) if face.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def font_for(letter: str) -> str | None:
    """Return the file of the font that a letter is drawn in; None where there is none."""
    for file in (default_file(), *system_fonts()):
        # Colour fonts have letters that are empty to everyone who draws outlines.
        if ord(letter) in _letters(file) and (letter.isspace() or font(file).getmask(letter).getbbox()):
            return file
    return None


def _invisible(letter: str) -> bool:
    """Return whether a letter only joins others or chooses their style, and is left out where no font has it."""
    return unicodedata.category(letter) == "Cf" or 0xFE00 <= ord(letter) <= 0xFE0F


def readable(text: str) -> str:
    r"""Return a text with an escape in place of each letter that no font here has.

    >>> readable("größe"), readable("a\x00")
    ('größe', 'a\\x00')
    """
    return "".join(_readable(letter) for letter in text)


@functools.cache
def _readable(letter: str) -> str:
    if letter.isspace():
        return letter if letter == "\n" else " "
    plain = ord(letter) in _letters(default_file())
    if letter.isprintable() and (plain or font_for(letter)):
        return letter
    if _invisible(letter):
        return letter if plain else ""
    return letter.encode("unicode_escape").decode("ascii")


def _runs(line: str) -> list[tuple[str, str]]:
    """Return the parts of a line with the font of each; a letter that the last font has too stays in it."""
    parts: list[tuple[str, str]] = []
    for letter in line:
        last = parts[-1][1] if parts else default_file()
        usual = ord(letter) in _letters(default_file())
        keeps = unicodedata.combining(letter) and ord(letter) in _letters(last)
        file = last if keeps else default_file() if usual else font_for(letter) or default_file()
        if parts and file == last:
            parts[-1] = parts[-1][0] + letter, file
        else:
            parts.append((letter, file))
    return parts


def text_width(text: str) -> float:
    """Return the width of a text, that of its longest line, in pixels."""
    lines = (_runs(readable(line)) for line in text.split("\n"))
    return max((sum(font(file).getlength(part) for part, file in runs) for runs in lines), default=0.0)


def cut(text: str, width: float) -> str:
    """Return a line that is at most so many pixels wide, with an ellipsis if it had to be cut."""
    text = readable(text)
    if text_width(text) <= width:
        return text
    least, most = 0, len(text)
    while least < most:  # the most letters that fit, by halving
        middle = (least + most + 1) // 2
        least, most = (middle, most) if text_width(text[:middle].rstrip() + "…") <= width else (least, middle - 1)
    while 0 < least < len(text) and (unicodedata.combining(text[least]) or _invisible(text[least])):
        least -= 1  # a mark goes with its letter
    return text[:least].rstrip() + "…"


def shorten(text: str, letters: int) -> str:
    """Return a line of at most so many letters, with an ellipsis if it had to be cut.

    >>> shorten("a very long name", 8)
    'a very…'
    """
    text = readable(text)
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def write(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, ink: Ink, anchor: str = "la") -> None:
    """Write a line, each part in a font that has its letters.

    Args:
        pen: Draws on the picture.
        place: Where the anchor of the text goes.
        text: One line.
        ink: Its colour.
        anchor: `l`, `m` or `r` for left, middle or right, then `a` or `m` for the top or the middle of the letters.
    """
    runs = _runs(readable(text))
    if len(runs) <= 1:
        pen.text(place, "".join(part for part, _ in runs), ink, font(runs[0][1] if runs else ""), anchor=anchor)
        return
    usual = font()
    assert isinstance(usual, ImageFont.FreeTypeFont)
    ascent, descent = usual.getmetrics()
    x, y = place
    x -= text_width(text) * {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]]
    y += ascent if anchor[1] == "a" else (ascent - descent) / 2
    for part, file in runs:
        pen.text((x, y), part, ink, font(file), anchor="ls")
        x += font(file).getlength(part)


def for_plots(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return texts as matplotlib is to draw them, and the names of the fonts that it needs for them.

    It reads $ as mathematics and leaves out labels that begin with _. Before 3.11 it wrote all scripts from left to
    right.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    families, texts = ["DejaVu Sans"], []
    for name in names:
        text = readable(name)
        for _, file in _runs(text):
            if file == default_file():
                continue
            if file not in {entry.fname for entry in font_manager.fontManager.ttflist}:
                font_manager.fontManager.addfont(file)
            families.append(font_manager.FontProperties(fname=file).get_name())
        text = (text if hasattr(FT2Font, "_layout") else _from_the_right(text)).replace("$", r"\$")
        texts.append(f" {text}" if text.startswith("_") else text)
    return texts, list(dict.fromkeys(families))


def _from_the_right(text: str) -> str:
    """Return a text with its stretches of right-to-left letters in the order in which they are seen."""
    rtl = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff"
    return re.sub(rf"[{rtl}]+(?:[ ]+[{rtl}]+)*", lambda found: found[0][::-1], text)
