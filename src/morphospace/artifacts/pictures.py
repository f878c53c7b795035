"""Pictures: grids of images as PNG files that carry their parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from morphospace.artifacts.files import atomic
from morphospace.errors import SettingError

__all__ = ["grid", "save_picture", "interleave", "check_picture_path"]

PAD = 2


def grid(images: np.ndarray, columns: int | None = None, *, scale: int | None = None) -> Image.Image:
    """Lay uint8 images (N, H, W, C) out in rows, on white.

    Args:
        images: C is 1 or 3.
        columns: Images in a row; as square as leaves no cell empty, or few, when None.
        scale: Whole-number enlargement by repeated pixels; small images are brought to about 64 pixels when None.
    """
    count, height, width, channels = images.shape
    columns = columns or near_square(count)
    rows = -(-count // columns)
    scale = scale or max(1, round(64 / max(height, width)))
    enlarged = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    sheet = np.full((rows * (height + PAD) + PAD, columns * (width + PAD) + PAD, channels), 255, np.uint8)
    for i, image in enumerate(enlarged):
        top, left = PAD + i // columns * (height + PAD), PAD + i % columns * (width + PAD)
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


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
        raise SettingError(f"out = {str(path)!r}: must be a file name that ends in .png")


def save_picture(path: Path, picture: Image.Image, parameters: Mapping[str, Any]) -> None:
    """Write a PNG, whole or not at all, with what made it in its `morphospace` text chunk (JSON)."""
    check_picture_path(path)
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("Software", "morphospace")
    chunk.add_text("morphospace", json.dumps(dict(parameters), sort_keys=True))
    with atomic(path) as partial:
        picture.save(partial, format="PNG", pnginfo=chunk)
