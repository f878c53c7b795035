"""Rows of images with a word before each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from morphospace.pictures.lettering import font
from morphospace.pictures.sheet import PAD, grid

GAP = 6


def labelled(images: np.ndarray, columns: int, words: Sequence[str], *, scale: int | None = None) -> Image.Image:
    """Lay uint8 images (R * columns, H, W, C) out in rows as `grid` does, with a word to the left of each row.

    Args:
        images: Row by row.
        columns: Images in a row.
        words: One a row.
        scale: As for `grid`.
    """
    sheet = grid(images, columns, scale=scale)
    margin = GAP + max(int(np.ceil(font().getlength(word))) for word in words) + GAP
    picture = Image.new(sheet.mode, (margin + sheet.width, sheet.height), "white")
    picture.paste(sheet, (margin, 0))
    draw, height = ImageDraw.Draw(picture), (sheet.height - PAD) / len(words)
    for row, word in enumerate(words):
        draw.text((margin - GAP, PAD + (row + 0.5) * height - PAD / 2), word, fill="black", font=font(), anchor="rm")
    return picture
