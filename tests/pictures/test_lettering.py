"""Letters of any script are drawn or escaped, never boxes; long words are cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from morphospace.pictures import lettering
from morphospace.pictures.captions import with_legend
from morphospace.pictures.lettering import cut, for_plots, readable, text_width, write
from morphospace.pictures.maps import moved_apart
from morphospace.pictures.sheet import grid, grid_with_row_labels

CACHED = (lettering.system_fonts, lettering.font_for, lettering._readable)


def forget() -> None:
    for function in CACHED:
        function.cache_clear()


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.fixture
def cat_font(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A font of the system that has the Chinese cat, as a square, and nothing for the emoji dog but a name."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", "a", "cat", "dog"])
    made.setupCharacterMap({ord("a"): "a", ord("猫"): "cat", ord("🐶"): "dog"})
    made.setupGlyf({".notdef": empty, "a": square, "cat": square, "dog": empty})
    made.setupHorizontalMetrics(dict.fromkeys((".notdef", "a", "cat", "dog"), (1000, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Cats", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    path = tmp_path / "cats.ttf"
    made.save(path)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(tmp_path / "broken.ttf"), str(path)])
    forget()
    yield path
    monkeypatch.undo()
    forget()


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("größe äöü", "größe äöü"),
        ("собака", "собака"),
        ("عربى", "عربى"),
        ("猫", r"\u732b"),
        ("🐶 dog", r"\U0001f436 dog"),
        ("e\u0301", "e\u0301"),
        ("x\ufe0f", "x\ufe0f"),
        ("bad\udce9name", r"bad\udce9name"),
        ("tab\tand\u00a0space", "tab and space"),
        ("\x1b[31m", r"\x1b[31m"),
    ],
)
def test_what_no_font_has_is_escaped(text: str, said: str) -> None:
    assert readable(text) == said
    assert text_width(text) == pytest.approx(text_width(said))


def test_a_font_of_the_system_draws_what_the_usual_one_lacks(cat_font: Path) -> None:
    assert readable("a 猫") == "a 猫" and readable("🐶") == r"\U0001f436"  # an empty outline is no letter
    assert text_width("猫猫") == pytest.approx(2 * lettering.FONT_SIZE, abs=1)
    picture = Image.new("L", (60, 20), 255)
    write(ImageDraw.Draw(picture), (2, 2), "a 猫 b", 0)
    black = np.asarray(picture) == 0
    assert black.sum() > 50 and black.sum(0).max() >= 8  # the square
    texts, families = for_plots(["猫", "dog"])
    assert texts == ["猫", "dog"] and families == ["DejaVu Sans", "Cats"]


def test_a_text_of_the_usual_font_is_drawn_as_pillow_draws_it() -> None:
    drawn = [Image.new("L", (90, 20), 255) for _ in range(2)]
    write(ImageDraw.Draw(drawn[0]), (80, 10), "größe", 0, "rm")
    ImageDraw.Draw(drawn[1]).text((80, 10), "größe", 0, lettering.font(), anchor="rm")
    assert drawn[0].tobytes() == drawn[1].tobytes()


@pytest.mark.parametrize("text", ["a very long class name that goes on", "собака" * 9, "e\u0301" * 40, "猫" * 20])
@pytest.mark.parametrize("width", [20, 60, 104])
def test_a_long_word_is_cut_to_its_width(text: str, width: int) -> None:
    shown = cut(text, width)
    assert shown.endswith("…") and text_width(shown) <= width and readable(text).startswith(shown[:-1].rstrip())
    assert not shown.startswith("\u0301")


def test_what_fits_is_not_cut() -> None:
    assert cut("short", 104) == "short"


def test_labels_for_plots_are_read_as_they_are() -> None:
    texts, families = for_plots(["cost $a$", "_misc", "plain"])
    assert texts == [r"cost \$a\$", " _misc", "plain"] and families == ["DejaVu Sans"]


def test_sheets_stay_as_wide_as_words_may_be() -> None:
    images = np.zeros((4, 16, 16, 1), np.uint8)
    long = "a very long class name that goes on and on and on for ever " * 5
    assert grid(images, 2, captions=[long] * 4).width < 240
    assert grid_with_row_labels(images, 2, [long, "b"]).width < 340
    legend = with_legend(Image.new("RGB", (130, 60)), [long, "b"])
    assert legend.width == 130 and (np.asarray(legend)[:, -1] == 255).all(axis=1)[60:].all()  # not cut by the edge


def test_names_in_a_map_are_moved_apart() -> None:
    rng = np.random.default_rng(0)
    middles, widths = rng.normal(0, 0.05, (12, 2)), rng.uniform(0.2, 0.4, 12)
    placed = moved_apart(middles, widths, 0.03)
    assert np.array_equal(placed[:, 0], middles[:, 0]) and np.array_equal(placed[0], middles[0])
    for i in range(12):
        for j in range(i):
            apart = abs(placed[i] - placed[j])
            assert apart[0] >= (widths[i] + widths[j]) / 2 or apart[1] >= 0.0299
