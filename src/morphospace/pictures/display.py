"""Results that a notebook displays: a picture or a film, a table, and lines of text.

A result says what it has (`picture`, `media`, `summary`, `markdown`). How that becomes HTML, a PNG or plain text is
decided here, once: everything is escaped, and what is too large is cut, with a line that says so.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from morphospace.errors import spelled_out

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Picture = Image.Image | np.ndarray

# What a notebook holds of one result; files that the tools write hold everything.
ROWS, LINES, LETTERS = 60, 60, 400
PIXELS, FRAMES, FILM_BYTES = 4_000_000, 100, 6_000_000
MILLISECONDS = 100  # of a film's frame


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes:
        columns: The headings.
        rows: As many cells each.
        empty: What to say when there are none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = ""

    def plain(self) -> list[str]:
        """Return aligned lines."""
        if not self.rows:
            return [self.empty]
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines]


class Summary(NamedTuple):
    """What a result says without being asked for files: lines, and a table above them."""

    lines: Sequence[str] = ()
    table: Table | None = None


class Media(NamedTuple):
    """A film or a drawing in a format of its own: its MIME type, its bytes, and what was left out of it."""

    kind: str
    content: bytes
    note: str = ""


class Displayable:
    """A result that a notebook displays. A subclass overrides what it has."""

    def __init_subclass__(cls, **how: Any) -> None:
        super().__init_subclass__(**how)
        # IPython prefers a class's own `__repr__`, which a dataclass has, to what it inherits for IPython.
        cls._repr_pretty_ = Displayable._repr_pretty_  # type: ignore[method-assign]

    def picture(self) -> Picture | None:
        """Draw the picture; uint8 (H, W) or (H, W, 3) where it is an array."""
        return None

    def media(self) -> Media | None:
        """Return a film, or a drawing that is no grid of pixels."""
        return None

    def summary(self) -> Summary:
        """Return lines and a table."""
        return Summary()

    def markdown(self) -> str:
        """Return a text in Markdown."""
        return ""

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows; None where a picture says it all, which `_repr_png_` returns."""
        (drawn, note), film, summary = _drawn(self.picture()), self.media(), _bounded(self.summary())
        notes = [line for line in (note, film.note if film else "") if line]
        if film and len(film.content) > FILM_BYTES:
            notes, film = [*notes, f"the film of {len(film.content) / 1e6:.1f} MB is not shown here"], None
        text = self.markdown()
        if not (film or any(summary) or text or notes):
            return None
        from morphospace.pictures.pages import png_data, render

        return render(
            "pictures/display.html",
            name=type(self).__name__,
            png=None if drawn is None else png_data(drawn, optimize=True),
            film=None if film is None else (film.kind, base64.b64encode(film.content).decode()),
            lines=summary.lines,
            table=summary.table,
            text=_html_of(text),
            notes=notes,
        )

    def _repr_png_(self) -> bytes | None:
        drawn, _ = _drawn(self.picture())
        if drawn is None:
            return None
        with io.BytesIO() as file:
            drawn.save(file, format="PNG")
            return file.getvalue()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the same in words, as IPython asks for it."""
        summary = _bounded(self.summary())
        table = [] if summary.table is None else summary.table.plain()
        printer.text("\n".join([*table, *summary.lines]) or self.markdown() or _cut(repr(self)))


def animated(count: int, frame: Callable[[int], Image.Image]) -> Media:
    """Return a film that goes there and back, as an animated WebP.

    Args:
        count: Number of frames.
        frame: Draws the frame of a number from 0.
    """
    every = math.ceil(count / FRAMES)
    frames = [frame(i) for i in range(0, count, every)]
    with io.BytesIO() as file:
        there_and_back = [*frames[1:], *frames[-2:0:-1]]
        how: dict[str, Any] = {"duration": MILLISECONDS, "loop": 0, "quality": 85}
        frames[0].save(file, format="WEBP", save_all=True, append_images=there_and_back, **how)
        note = f"every {every}th of {count:,} frames is shown" if every > 1 else ""
        return Media("image/webp", file.getvalue(), note)


def _drawn(picture: Picture | None) -> tuple[Image.Image | None, str]:
    """Return a picture of a size that a notebook can hold, and what was done for that."""
    from PIL import Image

    if picture is None:
        return None, ""
    drawn = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    part = math.ceil(math.sqrt(drawn.width * drawn.height / PIXELS))
    if part <= 1:
        return drawn, ""
    return drawn.reduce(part), f"shown at 1/{part} of its size, {drawn.width:,}x{drawn.height:,} pixels"


def _bounded(summary: Summary) -> Summary:
    """Return a summary of a length that a notebook can hold."""
    table = summary.table
    if table is not None:
        rows = [[_cut(cell) for cell in row] for row in table.rows[:ROWS]]
        columns, left = [_cut(cell) for cell in table.columns], len(table.rows) - len(rows)
        rows += [[f"... {left:,} more rows", *[""] * (len(columns) - 1)]] if left else []
        table = Table(columns, rows, _cut(table.empty))
    lines = [_cut(line) for line in summary.lines[:LINES]]
    left = len(summary.lines) - len(lines)
    return Summary([*lines, *([f"... {left:,} more lines"] if left else [])], table)


def _cut(text: str) -> str:
    shown = spelled_out(text)
    return shown if len(shown) <= LETTERS else f"{shown[:LETTERS]} ..."


def _html_of(text: str) -> Any:
    """Return Markdown as HTML: tags in it are shown as text, and it asks for no picture."""
    if not text:
        return ""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    lines = (spelled_out(line) for line in text.splitlines())
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render("\n".join(lines)))


def shell() -> Any:
    """Return IPython's shell if this process is the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")
    found = None if ipython is None else ipython.get_ipython()
    return found if hasattr(found, "kernel") else None


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    return shell() is not None


class CellOutput:
    """An output of the cell that is running, which is shown anew in its place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, words: str, html: str = "") -> None:
        """Show this instead: HTML where a notebook can, else the words."""
        from IPython.display import display

        bundle = {"text/plain": spelled_out(words), **({"text/html": html} if html else {})}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class _Status:
    """Shows a line in a notebook while a cell runs, in place of the line before."""

    def __init__(self) -> None:
        self._output: CellOutput | None = None

    def __call__(self, line: str) -> None:
        found = shell()
        if found is None:
            return
        if self._output is None:
            self._output = CellOutput()
            found.events.register("post_run_cell", self._end)
        self._output.show(line)

    def _end(self, *_: Any) -> None:
        if self._output is not None:
            self._output.show("")
            self._output = None
            shell().events.unregister("post_run_cell", self._end)


status = _Status()
"""Takes the lines that a tool says on the way, unless its caller takes them: a notebook shows the last one."""
