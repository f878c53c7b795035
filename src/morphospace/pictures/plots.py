"""Pictures with words and numbers beside the images: labelled rows, the plane of components, explained variance."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from morphospace.pictures.lettering import LINE, font
from morphospace.pictures.sheet import PAD

CELL = 64  # pixels of an image's longer side, about
EDGE = 6
GREY = (110, 110, 110)


def signed(value: float) -> str:
    """Return a number as a heading: with its sign, short.

    >>> signed(-3.0), signed(0.75), signed(0.0)
    ('-3', '+0.75', '0')
    """
    return "0" if abs(value) < 5e-4 else f"{value:+.2f}".rstrip("0").rstrip(".")


def labelled(
    images: np.ndarray,
    columns: int,
    *,
    rows: Sequence[str] = (),
    headings: Sequence[str] = (),
    across: str = "",
    up: str = "",
    scale: int | None = None,
) -> Image.Image:
    """Lay uint8 images (N, H, W, C) out in rows, with words beside the rows and over the columns.

    Args:
        images: C is 1 or 3.
        columns: Images in a row.
        rows: What stands to the left of each row, of several lines perhaps; the first is black, the others grey.
        headings: What stands over each column, of several lines perhaps.
        across: What goes on from left to right, under the images.
        up: What goes on upwards, written upwards at the left edge.
        scale: Whole-number enlargement by repeated pixels; small images are brought to about 64 pixels when None.
    """
    count, height, width, channels = images.shape
    scale = scale or max(1, round(CELL / max(height, width)))
    big = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale + PAD, width * scale + PAD
    wide = max((_width(text) for text in rows), default=0.0)
    left = (LINE + EDGE if up else 0) + (round(wide) + 2 * EDGE if rows else EDGE)
    # Headings wider than a column would run into each other.
    column = max([width, *(round(_width(text)) + EDGE for text in headings)])
    row = max([height, *(LINE * len(text.splitlines()) + PAD for text in rows)])
    lines = max((len(text.splitlines()) for text in headings), default=0)
    top, count_rows = LINE * lines + EDGE, -(-count // columns)
    bottom = LINE + EDGE if across else EDGE
    right = max(left + columns * column + EDGE, round(_width(across)) + 2 * EDGE)
    middle = max(left + columns * column / 2, _width(across) / 2 + EDGE)
    sheet = Image.new("RGB", (right, top + count_rows * row + bottom), "white")
    pen = ImageDraw.Draw(sheet)
    for i, text in enumerate(headings):
        pen.multiline_text(
            (left + i * column + width / 2, EDGE / 2), text, "black", font(), anchor="ma", align="center"
        )
    for i, text in enumerate(rows):
        tall = LINE * len(text.splitlines())
        for j, line in enumerate(text.splitlines()):
            place = (left - EDGE, top + i * row + (height - tall) / 2 + j * LINE)
            pen.text(place, line, "black" if j == 0 else GREY, font(), anchor="ra")
    for i, image in enumerate(big):
        plain = Image.fromarray(image[..., 0] if channels == 1 else image)
        sheet.paste(plain, (left + i % columns * column + (column - width) // 2, top + i // columns * row))
    pen.text(
        (min(middle, right - EDGE - _width(across) / 2), sheet.height - LINE - 2), across, "black", font(), anchor="ma"
    )
    _upwards(sheet, up, top + count_rows * row // 2)
    return sheet


def _width(text: str) -> float:
    return max((font().getlength(line) for line in text.splitlines()), default=0.0)


def _upwards(sheet: Image.Image, text: str, middle: int) -> None:
    """Write along the left edge, from below upwards."""
    if not text:
        return
    strip = Image.new("RGB", (round(_width(text)) + 2, LINE + 2), "white")
    ImageDraw.Draw(strip).text((0, 0), text, "black", font())
    strip = strip.rotate(90, expand=True)
    sheet.paste(strip, (2, max(0, middle - strip.height // 2)))


def variance_plot(
    share: Sequence[float], *, dims: int | None, dims_for: float, active: int | None, title: str
) -> Image.Image:
    """Plot how much each component explains, and all up to it together.

    Args:
        share: Part of the variance, from 0 to 1, the largest first.
        dims: How many together explain `dims_for`; None if not even all do.
        dims_for: From 0 to 1.
        active: How many latent dimensions say something; None where it is not known.
        title: Over it.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    numbers = np.arange(1, len(share) + 1)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(numbers, np.asarray(share) * 100, width=0.8, color="#7a9cc6", label="each")
    axes.step(numbers, np.cumsum(share) * 100, where="mid", color="#1f3a5f", linewidth=1.6, label="together")
    if dims is not None:
        axes.axhline(dims_for * 100, color="#c0504d", linewidth=0.9, linestyle="--")
        axes.axvline(dims, color="#c0504d", linewidth=0.9, linestyle="--")
        axes.annotate(
            f"{dims} for {dims_for:.0%}", (dims, 4), color="#c0504d", fontsize=9, xytext=(4, 0),
            textcoords="offset points",
        )  # fmt: skip
    if active is not None:
        axes.axvline(active, color="#6a8f4e", linewidth=0.9, linestyle=":", label=f"active units: {active}")
    axes.set(xlabel="component", ylabel="variance explained, %", ylim=(0, 102), xlim=(0.3, len(share) + 0.7))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="center right")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format="png")
    return Image.open(drawn).convert("RGB")
