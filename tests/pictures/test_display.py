"""What a notebook displays of a result: all of it escaped, none of it without bounds."""

from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphospace.pictures import display
from morphospace.pictures.display import Displayable, Media, Summary, Table, animated, status
from morphospace.pictures.images import Images
from tests.studio.test_page_file import HOSTILE

ODD = ("<script>alert(1)</script>", '"><img src=x onerror=hacked=1>', "red\u202etxt", "&lt;b&gt;")


@dataclass(frozen=True)
class Shown(Displayable):
    """Shows what it is given."""

    image: Any = None
    film: Media | None = None
    told: Summary = field(default_factory=Summary)
    text: str = ""

    def picture(self) -> Any:
        return self.image

    def media(self) -> Media | None:
        return self.film

    def summary(self) -> Summary:
        return self.told

    def markdown(self) -> str:
        return self.text


class Printer:
    """What IPython hands to `_repr_pretty_`."""

    def __init__(self, shown: Displayable) -> None:
        self.said = ""
        shown._repr_pretty_(self, False)

    def text(self, words: str) -> None:
        self.said += words


def pictures(html: str) -> list[Image.Image]:
    """Return the pictures of an HTML text."""
    found = re.findall(r'src="data:image/\w+;base64,([^"]*)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


@pytest.mark.parametrize("word", [*HOSTILE, *ODD])
def test_words_are_words(word: str) -> None:
    told = Summary([word], Table([word, "b"], [[word, "1"]]))
    html = Shown(told=told, text=f"# {word}\n\n[a](javascript:b)\n")._repr_html_()
    assert html is not None
    # Only what the template and Markdown write is a tag, and nothing has an attribute but a style.
    assert set(re.findall(r"<(\w+)", html)) <= {
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "h1",
        "p",
        "pre",
        "em",
    }
    assert not re.search(r"<[^>]*\s(on\w+|src|href)=", html) and "\u202e" not in html
    assert "\u202e" not in Printer(Shown(told=Summary([word]))).said


def test_a_picture_alone_is_a_png_and_beside_words_both_are_html() -> None:
    image = np.arange(12 * 9, dtype=np.uint8).reshape(12, 9)
    alone = Shown(image)
    assert alone._repr_html_() is None
    png = alone._repr_png_()
    assert png is not None and np.array_equal(np.asarray(Image.open(io.BytesIO(png))), image)
    (shown,) = pictures(Shown(image, told=Summary(["12 rows"]))._repr_html_() or "")
    assert np.array_equal(np.asarray(shown), image)
    assert Shown()._repr_html_() is None and Shown()._repr_png_() is None


def test_what_is_large_is_cut_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(["n"], [[str(i)] for i in range(1000)])
    html = Shown(told=Summary(["x" * 10_000, *["line"] * 500], table))._repr_html_() or ""
    assert len(html) < 40_000
    for words in ("... 940 more rows", "... 441 more lines", "xx ..."):
        assert words in html
    html = Shown(np.zeros((3000, 4000), np.uint8))._repr_html_() or ""
    assert pictures(html)[0].size == (2000, 1500) and "shown at 1/2 of its size, 4,000x3,000 pixels" in html
    monkeypatch.setattr(display, "FILM_BYTES", 10)
    html = Shown(film=Media("image/gif", b"x" * 20_000_000))._repr_html_() or ""
    assert "the film of 20.0 MB is not shown here" in html and "<img" not in html


def test_a_film_goes_there_and_back() -> None:
    film = animated(5, lambda i: Image.new("RGB", (16, 16), (40 * i, 0, 0)))
    with Image.open(io.BytesIO(film.content)) as made:
        assert made.n_frames == 8 and made.info["loop"] == 0  # type: ignore[attr-defined]
        levels = []
        for i in range(8):
            made.seek(i)
            levels.append(made.convert("RGB").getpixel((8, 8))[0])  # type: ignore[index]
    assert np.abs(np.array(levels) - [0, 40, 80, 120, 160, 120, 80, 40]).max() < 12 and not film.note
    long = animated(250, lambda i: Image.new("L", (4, 4)))
    assert long.note == "every 3th of 250 frames is shown"


def test_an_array_of_images_is_a_grid_as_long_as_it_holds_images() -> None:
    images = np.zeros((300, 8, 8, 1), np.uint8).view(Images)
    assert "the first 256 of 300 images" in (images._repr_html_() or "")
    assert images[:4]._repr_png_() and images[0]._repr_png_() and images[:4]._repr_html_() is None
    for other in (images / 255, images[0, 0], images.mean(0), images[:0]):
        assert other._repr_png_() is None


class Shell:
    """IPython's shell in a kernel, as far as is asked of it."""

    kernel = object()

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[str] = []
        self.after: list[Any] = []
        self.events = self

        def display(bundle: dict[str, str], **_: Any) -> Shell:
            self.update(bundle)
            return self

        module = SimpleNamespace(get_ipython=lambda: self, display=SimpleNamespace(display=display))
        monkeypatch.setitem(sys.modules, "IPython", module)  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "IPython.display", module.display)

    def update(self, bundle: dict[str, str], **_: Any) -> None:
        self.shown.append(bundle["text/plain"])

    def register(self, event: str, call: Any) -> None:
        self.after.append(call)

    def unregister(self, event: str, call: Any) -> None:
        self.after.remove(call)


def test_what_a_tool_says_on_the_way_is_shown_until_the_cell_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    status("no notebook, and nothing happens")
    shell = Shell(monkeypatch)
    for line in ("first", "\u202esecond"):
        status(line)
    (end,) = shell.after
    end()
    assert shell.shown == ["first", "\\u202esecond", ""] and not shell.after
