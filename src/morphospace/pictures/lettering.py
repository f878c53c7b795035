"""Words in pictures: one small font, whatever fonts the machine has."""

from __future__ import annotations

import functools

from PIL import ImageFont

SIZE = 11
LINE = 13  # pixels from a line to the next


@functools.cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of captions and legends: matplotlib's, which knows more scripts than Pillow's own."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", SIZE)
