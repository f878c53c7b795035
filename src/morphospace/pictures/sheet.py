"""Pictures: grids of images as PNG files that carry their parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from morphospace.errors import SettingError
from morphospace.files import atomic
from morphospace.pictures.lettering import LINE, font

PAD = 2
WIDEST = 104  # pixels that a caption may widen its cell to


def grid(
    images: np.ndarray,
    columns: int | None = None,
    *,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """Lay uint8 images (N, H, W, C) out in rows, on white.

    Args:
        images: C is 1 or 3.
        columns: Images in a row; as square as leaves no cell empty, or few, when None.
        scale: Whole-number enlargement by repeated pixels; small images are brought to about 64 pixels when None.
        captions: Words under each image, of one line or several; what is too long for its cell is cut.
    """
    count, height, width, channels = images.shape
    columns = columns or near_square(count)
    rows = -(-count // columns)
    scale = scale or max(1, round(64 / max(height, width)))
    enlarged = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    across, down = (width, 0) if captions is None else _caption_size(captions, width)
    tall, wide = height + down + PAD, across + PAD
    sheet = np.full((rows * tall + PAD, columns * wide + PAD, channels), 255, np.uint8)
    for i, image in enumerate(enlarged):
        top, left = PAD + i // columns * tall, PAD + i % columns * wide + (across - width) // 2
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    for i, caption in enumerate(captions or ()):
        _write(picture, caption, PAD + i % columns * wide, PAD + i // columns * tall + height, across)
    return picture


def _caption_size(captions: Sequence[str], width: int) -> tuple[int, int]:
    """Return how wide cells must be for captions, within reason, and how high the captions are."""
    lines = [line for caption in captions for line in caption.split("\n")]
    longest = max((math.ceil(font().getlength(line)) for line in lines), default=0)
    most = max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    return max(width, min(longest + 6, WIDEST)), most * LINE + (4 if most else 0)


def _write(picture: Image.Image, caption: str, left: int, top: int, width: int) -> None:
    """Write a caption's lines below each other, each in the middle of `width` pixels."""
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(caption.split("\n")):
        if font().getlength(line) > width:
            while line and font().getlength(line + "…") > width:
                line = line[:-1].rstrip()
            line += "…"
        ink = 40 if picture.mode == "L" else (40, 40, 40)
        start = left + (width - font().getlength(line)) // 2
        pen.text((start, top + i * LINE), line, fill=ink, font=font())


def grid_of_pairs(
    images: np.ndarray, masks: np.ndarray, columns: int | None = None, *, captions: Sequence[str] | None = None
) -> Image.Image:
    """Lay images out as `grid` does, each with its mask at its right.

    Args:
        images: uint8 (N, H, W, C).
        masks: uint8 (N, H, W, 1), or 3 in colour.
        columns: Pairs in a row.
        captions: Words under each pair.
    """
    channels = max(images.shape[-1], masks.shape[-1])
    halves = [half.repeat(channels // half.shape[-1], axis=-1) for half in (images, masks)]
    columns = columns or max(1, near_square(2 * len(images)) // 2)  # a pair is as wide as two images
    scale = max(1, round(64 / max(images.shape[1:3])))
    return grid(np.concatenate(halves, axis=2), columns, scale=scale, captions=captions)


def near_square(count: int) -> int:
    """Return how many columns make a good grid: a divisor a little above the square root, else its ceiling.

    >>> near_square(64), near_square(40), near_square(7), near_square(16)
    (8, 8, 3, 4)
    """
    least = int(np.ceil(np.sqrt(count)))
    return next((c for c in range(least, 2 * least) if count % c == 0 and c * c <= 2 * count), least)


def interleave(first: np.ndarray, second: np.ndarray, columns: int) -> np.ndarray:
    """Order two sets of images so that a grid shows a row of the first over a row of the second."""
    count = len(first) - len(first) % columns or len(first)
    columns = min(columns, count)
    rows = [half[i : i + columns] for i in range(0, count, columns) for half in (first, second)]
    return np.concatenate(rows)


def check_picture_path(path: Path) -> None:
    """Refuse a path that no picture can be written to, before any work is done.

    Raises:
        SettingError: It is a folder, or not named .png.
    """
    if path.suffix.lower() != ".png" or path.is_dir():
        raise SettingError("out", str(path), "must be a file name that ends in .png")


def save_picture(path: Path, picture: Image.Image, parameters: Mapping[str, Any]) -> None:
    """Write a PNG, whole or not at all, with what made it in its `morphospace` text chunk (JSON)."""
    check_picture_path(path)
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("Software", "morphospace")
    chunk.add_text("morphospace", json.dumps(dict(parameters), sort_keys=True))
    with atomic(path) as partial:
        picture.save(partial, format="PNG", pnginfo=chunk)
