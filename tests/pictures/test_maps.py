"""Maps: colours that stay apart, thumbnails that never overlap."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from morphospace.pictures.maps import COLOURS, GRID, LatentMap, darker, draw_maps, name_classes, snapped, tiled
from tests.conftest import draw_blobs

# Machado, Oliveira & Fernandes 2009, at full severity, on linear RGB.
SEEN_BY = {
    "most": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def cielab(colour: str, seen: object) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = np.asarray(TO_XYZ) @ np.clip(np.asarray(seen) @ linear, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("who", SEEN_BY)
def test_the_colours_stay_apart_for_everyone(who: str) -> None:
    places = [cielab(colour, SEEN_BY[who]) for colour in COLOURS]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)) > 15


def test_names_are_dark_enough_to_read_on_white() -> None:
    for colour in COLOURS:
        lightness = cielab(darker(colour), np.eye(3))[0]
        assert lightness < 50, colour


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 30))
def test_each_cell_has_at_most_one_thumbnail_and_it_lies_in_that_cell(seed: int, count: int, cells: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 2))
    left, bottom, right, top = corners = (-1.5, -1.0, 1.5, 2.0)
    found = snapped(points, corners, cells)
    assert len(set(found.values())) == len(found)
    width, height = (right - left) / cells, (top - bottom) / cells
    for (row, column), index in found.items():
        x, y = points[index]
        assert left + column * width - 1e-9 <= x <= left + (column + 1) * width + 1e-9
        assert top - (row + 1) * height - 1e-9 <= y <= top - row * height + 1e-9
    inside = ((points > [left, bottom]) & (points < [right, top])).all(1)
    assert bool(found) == inside.any()


def test_of_several_in_a_cell_the_nearest_to_its_middle_is_shown() -> None:
    points = np.array([[0.1, 0.9], [0.26, 0.74], [0.4, 0.6], [5.0, 5.0]])
    assert snapped(points, (0.0, 0.0, 1.0, 1.0), 2) == {(0, 0): 1}


def test_tiles_are_row_by_row() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(3, 2)
    assert tiled(images, 3)[:, :, 0].tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 3, 4, 4, 4, 5, 5, 5]] * 2
    assert tiled(images, 3).shape == (4, 9, 3)


def made(classes: int, channels: int = 1, **more: object) -> LatentMap:
    rng = np.random.default_rng(0)
    facts: dict[str, object] = {
        "run": "r",
        "model": "vae",
        "split": "test",
        "by": "pca",
        "points": rng.normal(size=(64, 2)),
        "images": draw_blobs(64, (8, 8, channels)),
        "classes": np.arange(64) % classes if classes else None,
        "class_names": tuple(f"class {i}" for i in range(classes)),
        "share": (0.5, 0.2),
        "grid": draw_blobs(GRID * GRID, (8, 8, channels)),
        "corners": (-3.0, -3.0, 3.0, 3.0),
        "prior": (0.0, 0.0),
    }
    return LatentMap(**{**facts, **more})  # type: ignore[arg-type]


def colours_in(picture: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in picture.getcolors(picture.width * picture.height)}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.parametrize("show", ["classes", "thumbnails"])
def test_every_class_has_its_colour(show: str) -> None:
    seen = colours_in(draw_maps([made(5)], show))
    assert all(rgb(colour) in seen for colour in COLOURS[:5])
    assert not any(rgb(colour) in seen for colour in COLOURS[5:])


def test_names_at_the_edge_are_not_cut_off() -> None:
    figure = Figure(figsize=(8, 8))
    axes = figure.add_subplot()
    axes.set(xlim=(-3, 3), ylim=(-3, 3))
    points = np.array([[-2.9, 0.0], [2.9, 1.0], [0.0, 2.0]])
    names = ("A LONG NAME OF A CLASS", "$HOME", "c")
    name_classes(axes, replace(made(3, points=points), classes=np.arange(3), class_names=names))
    figure.canvas.draw()
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        assert box.x0 > -3 and box.x1 < 3


def test_maps_of_any_kind_are_drawn_in_one_size() -> None:
    four = [made(0), made(40, 3), made(2, grid=None), made(3, by="umap", share=None, prior=None, grid=None)]
    pictures = [draw_maps(maps, "classes") for maps in (four, four[:1])]
    assert pictures[0].height == pictures[1].height and pictures[0].width > 3 * pictures[1].width
    two = draw_maps(four[:2], "both")
    assert two.height == 2 * pictures[0].height
