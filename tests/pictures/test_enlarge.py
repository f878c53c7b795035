"""Enlargement: whole numbers, both ways, everywhere a picture or film of images is drawn, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from morphospace.errors import SettingError
from morphospace.pictures.enlarge import asked, enlarged, enlarging
from morphospace.pictures.sheet import PAD, annotated_grid, grid, grid_of_pairs, sheet_size
from tests.conftest import draw_blobs


@given(st.integers(1, 9), st.sampled_from(["nearest", "smooth"]), st.sampled_from([1, 3]))
def test_every_pixel_becomes_a_square_and_the_brightness_stays(scale: int, how: str, channels: int) -> None:
    images = draw_blobs(2, (9, 7, channels))
    with enlarging(scale, how):  # type: ignore[arg-type]
        large = enlarged(images)
    assert large.shape == (2, 9 * scale, 7 * scale, channels) and large.dtype == np.uint8
    small = large.reshape(2, 9, scale, 7, scale, channels).mean((2, 4))
    if how == "nearest" or scale == 1:
        assert (small == images).all()
    else:  # an image does not get brighter, and neighbouring pixels blend
        assert abs(large.mean() - images.mean()) < 3
        assert len(np.unique(large)) > len(np.unique(images))


def test_grids_obey_what_is_asked_around_them() -> None:
    images, masks = draw_blobs(4, (8, 8, 1)), draw_blobs(4, (8, 8, 1))
    plain, parameters = np.asarray(grid(images, 2)), sheet_size(4, 2, 8, 8)
    assert plain.shape == parameters == (2 * (64 + PAD) + PAD,) * 2  # small images: about 64 pixels
    with enlarging(3):
        assert grid(images, 2).size == sheet_size(4, 2, 8, 8)[::-1] == (2 * (24 + PAD) + PAD,) * 2
        assert grid_of_pairs(images, masks, 2).width == 2 * (48 + PAD) + PAD
        narrow = annotated_grid(images, 2, headings=["a", "b"])
        assert asked().facts == {"scale": 3}
    assert narrow.width < annotated_grid(images, 2, headings=["a", "b"]).width
    assert (np.asarray(grid(images, 2)) == plain).all() and asked().facts == {}


def test_a_pair_is_smooth_within_its_halves_and_not_across() -> None:
    black, white = np.zeros((1, 4, 4, 1), np.uint8), np.full((1, 4, 4, 1), 255, np.uint8)
    with enlarging(8, "smooth"):
        sheet = np.asarray(grid_of_pairs(black, white, 1))
    assert set(np.unique(sheet[PAD:-PAD, PAD : PAD + 32])) == {0}
    assert set(np.unique(sheet[PAD:-PAD, PAD + 32 : -PAD])) == {255}


def test_a_scale_out_of_range_is_refused() -> None:
    for scale in (0, 65):
        with pytest.raises(SettingError, match="scale"), enlarging(scale):
            pass
    assert asked().scale is None
    assert isinstance(grid(draw_blobs(1, (8, 8, 3))), Image.Image)
