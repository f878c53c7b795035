"""What is said under and beside images is what their data say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.errors import SettingError
from morphospace.pictures.captions import captions_of, draw_split, map_of_masks, part_colours, with_legend
from morphospace.pictures.sheet import PAD, grid, grid_of_pairs

ROWS = np.array([1, 4])


def known(**more: object) -> tuple[Pack, Split]:
    """Six images, with everything known of them that is asked for."""
    tables = {
        "labels": np.array([0, 1, 2, 0, 1, 2]),
        "attributes": np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [1] * 5]),
        "factors": np.linspace(0, 1, 12).reshape(6, 2).astype(np.float32),
        "masks": np.zeros((6, 8, 8, 2), np.uint8),
    }
    kept = {name: table for name, table in tables.items() if more.get(name, True)}
    kept = {name: table.astype(np.uint8) if name == "attributes" else table for name, table in kept.items()}
    names = {"label_names": ("ant", "big_bee", "cat") if "labels" in kept else ()}
    names |= {"attribute_names": tuple("abcde") if "attributes" in kept else ()}
    names |= {"factor_names": ("posX", "pos_Y") if "factors" in kept else ()}
    names |= {"mask_names": ("hair", "skin") if "masks" in kept else ()}
    split = Split(np.zeros((6, 8, 8, 1), np.uint8), **kept)
    pack = in_memory_pack("six", split, **names)
    return pack, pack.split("train")


def test_captions_say_what_is_known() -> None:
    pack, split = known()
    assert captions_of(pack, split, ROWS) == ["big bee", "big bee"]
    # How many have each: a 5, b 3, c 4, d 3, e 2. Rarest first, in their own order where they tie.
    assert captions_of(pack, split, ROWS, "attributes") == ["e\nb\nd\nand 2 more", ""]
    assert captions_of(pack, split, ROWS, "factors") == ["posX 0.18\npos Y 0.27", "posX 0.73\npos Y 0.82"]
    assert captions_of(pack, split, ROWS, "none") is None


def test_auto_is_the_first_that_is_known() -> None:
    assert captions_of(*known(labels=False), np.array([2])) == ["c\na"]
    assert captions_of(*known(labels=False, attributes=False), np.array([0])) == ["posX 0\npos Y 0.091"]
    nothing = known(labels=False, attributes=False, factors=False)
    assert captions_of(*nothing, ROWS) is None
    with pytest.raises(SettingError, match="six has no classes; nothing is known"):
        captions_of(*nothing, ROWS, "classes")
    with pytest.raises(SettingError, match="has no factors; it has classes, attributes, or say none"):
        captions_of(*known(factors=False), ROWS, "factors")


def test_captions_stand_in_their_cells() -> None:
    """Only the cells of the images that have words under them have ink there."""
    images = np.zeros((4, 64, 64, 1), np.uint8)
    plain, told = np.asarray(grid(images, 2)), np.asarray(grid(images, 2, captions=["one", "", "two\nlines", ""]))
    assert told.shape[1] == plain.shape[1] and told.shape[0] > plain.shape[0] + 2 * 26
    tall = (told.shape[0] - PAD) // 2
    for row, line in ((0, 1), (1, 2)):
        strip = told[PAD + row * tall + 64 : PAD + (row + 1) * tall]
        left, right = strip[:, PAD : PAD + 64], strip[:, 2 * PAD + 64 :]
        assert (left < 128).any() and (right == 255).all()
        assert (left[14:] < 128).any() == (line == 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_long_captions_widen_cells_only_so_far(channels: int) -> None:
    images = np.zeros((2, 32, 32, channels), np.uint8)
    short, long = (grid(images, 2, captions=[word, word]) for word in ("Ankle boot", "W" * 200))
    assert 2 * 64 + 3 * PAD < short.width < long.width < 2 * 110
    sheet = np.asarray(long.convert("L")).astype(int)
    assert (sheet[:, :PAD] == 255).all() and (sheet[:, -PAD:] == 255).all()
    middle = long.width // 2
    assert (sheet[70:, middle - 1 : middle + 1] == 255).all()  # cut, not running into the next


def test_parts_have_colours_of_their_own() -> None:
    for count in (2, 9, 18):
        colours = part_colours(count).astype(int)
        apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(count)
        assert apart.min() > 60 and colours.sum(1).min() > 100
    assert part_colours(1).tolist() == [[255, 255, 255]] and len(part_colours(50)) == 50
    masks = np.zeros((1, 2, 3, 2), np.uint8)
    masks[0, 0, :2, 0] = masks[0, 0, 1:, 1] = 1
    first, second = part_colours(2).tolist()
    assert map_of_masks(masks)[0].tolist() == [[first, second, second], [[0, 0, 0]] * 3]


def test_masks_stand_right_of_their_images() -> None:
    images, masks = np.full((3, 16, 12, 1), 90, np.uint8), np.full((3, 16, 12, 3), 7, np.uint8)
    sheet = np.asarray(grid_of_pairs(images, masks, 1))
    assert sheet.shape == (3 * (64 + PAD) + PAD, 2 * 48 + 2 * PAD, 3)
    for i in range(3):
        row = sheet[PAD + i * (64 + PAD) :][:64]
        assert (row[:, PAD : PAD + 48] == 90).all() and (row[:, PAD + 48 : PAD + 96] == 7).all()


def test_a_legend_names_every_part() -> None:
    narrow = with_legend(Image.new("RGB", (120, 10)), ["hair", "skin", "glasses", "mouth"])
    pixels = np.asarray(narrow)
    for colour in part_colours(4):
        assert (pixels[10:] == colour).all(-1).sum() > 50
    assert narrow.width == 120 and narrow.height > 10 + 2 * 13  # two lines


def test_a_split_without_masks_cannot_show_them() -> None:
    assert draw_split(*known(), ROWS, masks=True).height > draw_split(*known(), ROWS).height
    with pytest.raises(SettingError, match="six has no masks"):
        draw_split(*known(masks=False), ROWS, masks=True)
