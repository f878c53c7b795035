"""Enlargement of the images in pictures and films: by repeated pixels or smoothly, as asked for around the drawing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image

from morphospace.ranges import Between, check_ranges

CELL = 64  # pixels of an image's longer side, about, where no scale is asked for
Way = Literal["nearest", "smooth"]


@dataclass(frozen=True)
class Enlargement:
    """How images are enlarged.

    Attributes:
        scale: Pixels of the picture for each pixel of an image, along each side; None brings small images to about 64
            pixels.
        how: By repeated pixels (`nearest`), or smoothly by Lanczos' filter (`smooth`).
    """

    scale: Annotated[int | None, Between(1, 64)] = None
    how: Way = "nearest"

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked for, for a picture's parameters."""
        facts: dict[str, Any] = {} if self.scale is None else {"scale": self.scale}
        return facts if self.how == "nearest" else facts | {"enlarge": self.how}


NONE = Enlargement()
_ASKED: ContextVar[Enlargement] = ContextVar("enlargement", default=NONE)


@contextmanager
def enlarging(scale: int | None = None, how: Way = "nearest") -> Iterator[None]:
    """Draw every picture and film in this block with enlarged images; words beside them keep their size.

    Args:
        scale: Pixels for each pixel of an image, along each side, from 1 to 64; small images are brought to about 64
            pixels when None.
        how: By repeated pixels (`nearest`), which shows an image as it is, or `smooth`.

    Raises:
        SettingError: If the scale is not from 1 to 64.
    """
    token = _ASKED.set(Enlargement(scale, how))
    try:
        yield
    finally:
        _ASKED.reset(token)


def asked() -> Enlargement:
    """Return the enlargement that was asked for around this drawing."""
    return _ASKED.get()


def scale_for(height: int, width: int) -> int:
    """Return the scale that was asked for, else the whole number that brings the longer side nearest to 64 pixels."""
    return asked().scale or max(1, round(CELL / max(height, width)))


def enlarged(images: np.ndarray, scale: int | None = None) -> np.ndarray:
    """Enlarge uint8 images (N, H, W, C) to (N, H scale, W scale, C), in the way that was asked for.

    Args:
        images: C is 1 or 3.
        scale: As `scale_for` has it when None.
    """
    height, width = images.shape[1:3]
    scale = scale or scale_for(height, width)
    if scale == 1 or asked().how == "nearest":
        return images.repeat(scale, axis=1).repeat(scale, axis=2)
    size = (width * scale, height * scale)
    return np.stack(
        [
            np.stack(
                [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)) for plane in planes], axis=-1
            )
            for planes in images.transpose(0, 3, 1, 2)
        ]
    )
