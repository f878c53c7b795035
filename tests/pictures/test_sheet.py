"""Grids hold what they were given, and say what made them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.errors import RunError, SettingError
from morphospace.pictures.sheet import PAD, grid, grid_of_rows, interleave, save_picture


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_lies_in_its_cell(channels: int) -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(6, 2).repeat(channels, 3) * 40
    sheet = np.asarray(grid(images, 3, scale=2))
    assert sheet.shape[:2] == (2 * (16 + PAD) + PAD, 3 * (12 + PAD) + PAD)
    for i in range(5):
        top, left = PAD + i // 3 * (16 + PAD), PAD + i % 3 * (12 + PAD)
        assert (sheet[top : top + 16, left : left + 12] == 40 * i).all()
    assert (sheet[-1] == 255).all()


def test_rows_alternate() -> None:
    first, second = np.zeros((6, 1, 1, 1), np.uint8), np.ones((6, 1, 1, 1), np.uint8)
    assert interleave(first, second, 3).flatten().tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert interleave(first[:4], second[:4], 3).flatten().tolist() == [0, 0, 0, 1, 1, 1, 0, 255, 255, 1, 255, 255]


@pytest.mark.parametrize("count", [1, 3, 5, 8, 9, 10])
@pytest.mark.parametrize("masked", [False, True])
def test_each_image_stands_over_its_other_at_any_count(count: int, masked: bool) -> None:
    numbers = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None].repeat(64, 1).repeat(64, 2)
    masks = (numbers + 20, numbers + 120) if masked else None
    sheet, wide = np.asarray(grid_of_rows(numbers, numbers + 100, 8, masks)), 64 * (1 + masked) + PAD
    assert sheet.shape[1] == PAD + min(count, 8) * wide and sheet.shape[0] == PAD + 2 * -(-count // 8) * (64 + PAD)
    for i in range(count):
        top, left = PAD + 2 * (i // 8) * (64 + PAD), PAD + i % 8 * wide
        assert sheet[top, left] == i + 1 and sheet[top + 64 + PAD, left] == i + 101
        if masked:
            assert sheet[top, left + 64] == i + 21 and sheet[top + 64 + PAD, left + 64] == i + 121


def test_parameters_travel_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.png"
    save_picture(path, grid(np.zeros((1, 8, 8, 1), np.uint8)), {"seed": 3})
    with Image.open(path) as image:
        assert json.loads(image.info["morphospace"]) == {"seed": 3}
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    picture = grid(np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(SettingError, match=r"ends in \.png"):
        save_picture(tmp_path / "a.bmp", picture, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        save_picture(tmp_path / "file" / "a.png", picture, {})
