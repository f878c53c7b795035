"""The values of an image: whatever their type, they become uint8 levels of grey or RGB; free of torch.

Images of 8 bits keep their levels. Without a range, 16-bit values are divided by 257, floats run from 0 to 1, and other
whole numbers are refused. With a range, its lowest value becomes 0 and its highest 255. Images of 8 bits take part in a
range that lies within 0..255; another one says nothing of them, and they keep their levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from morphospace.data.sizes import Colour
from morphospace.errors import DataError

Kind = Literal["8-bit", "16-bit", "whole", "float"]
GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
FEW_COLOURS, FEW_GREYS = 32, 8
GIVE_RANGE = "give --range auto, or LOW:HIGH such as 0:255 or -1:1"


_COUNTS = ("transparent", "deep", "floats", "few_colours", "paged", "pages")


@dataclass
class Met:
    """What was met in one image, or in how many of several.

    Attributes:
        transparent: Images with a transparent pixel.
        deep: Images of 16 bits.
        floats: Images of floats.
        few_colours: Images of few colours that were resized by averaging.
        paged: Images with further pages or frames.
        pages: These pages and frames.
        low: Lowest value of the images of more than 8 bits.
        high: Highest value of them.
    """

    transparent: int = 0
    deep: int = 0
    floats: int = 0
    few_colours: int = 0
    paged: int = 0
    pages: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, other: Met) -> None:
        """Count what another has met."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seen(other.low, other.high)

    def seen(self, low: float, high: float) -> None:
        """Take values into account."""
        self.low, self.high = min(self.low, low), max(self.high, high)

    def said(self) -> dict[str, Any]:
        """Return what a manifest holds of it: what is not zero."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        ends = {"low": _plain(self.low), "high": _plain(self.high)} if self.low <= self.high else {}
        return {name: count for name, count in counts.items() if count} | ends


def _plain(value: float) -> float:
    return int(value) if float(value).is_integer() else float(value)


def kind_of(image: Image.Image) -> Kind:
    """Return which values an image file holds; 8-bit for all that Pillow reads as such, as 16-bit RGB."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "16-bit"
    return "whole" if image.mode == "I" else "float" if image.mode == "F" else "8-bit"


def has_alpha(image: Image.Image) -> bool:
    """Return whether some of an image's pixels may be transparent."""
    return image.mode in _ALPHA or "transparency" in image.info


def kind_of_array(array: Any) -> Kind:
    """Return which values an array holds."""
    if array.dtype.kind == "f":
        return "float"
    known: dict[Any, Kind] = {np.dtype(np.uint8): "8-bit", np.dtype(bool): "8-bit", np.dtype(np.uint16): "16-bit"}
    return known.get(array.dtype.newbyteorder("="), "whole")


def concerns_8_bit(span: tuple[float, float]) -> bool:
    """Return whether a range can be one of 8-bit levels."""
    return span[0] >= 0 and 1 <= span[1] <= 255


def to_levels(values: np.ndarray, kind: Kind, span: tuple[float, float] | None, met: Met | None = None) -> np.ndarray:
    """Return values of any type as uint8.

    Args:
        values: Of any shape.
        kind: What they are.
        span: The values that become 0 and 255; None for those of the kind.
        met: Takes the values of more than 8 bits.

    Raises:
        DataError: If a value is not finite, or the kind has no range of its own and none is given.
    """
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if kind == "8-bit":
        if span is None or not concerns_8_bit(span):
            return values
        table = _scaled(np.arange(256), span)
        return table[values]
    low, high = _ends(values)
    if met is not None:
        met.seen(low, high)
    if span is not None:
        return _scaled(values, span)
    if kind == "16-bit":
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind == "whole":
        name = "32-bit" if values.dtype.kind == "i" and values.dtype.itemsize == 4 else str(values.dtype)
        raise DataError(rule=f"{name} whole numbers have no agreed range (here {low} to {high})", way_out=GIVE_RANGE)
    if low < 0 or high > 1:
        rule = f"has values outside [0, 1], which floats are taken to lie in (here {low:g} to {high:g})"
        raise DataError(rule=rule, way_out=GIVE_RANGE)
    return np.rint(values * np.float32(255)).astype(np.uint8)


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = values.min().item(), values.max().item()
    if not math.isfinite(low) or not math.isfinite(high):
        count = int((~np.isfinite(values)).sum())
        raise DataError(rule=f"has {count:,} values that are not finite (NaN or infinite)", way_out="replace them")
    return low, high


def _scaled(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    low, high = span
    levels = values.astype(np.float64)
    levels -= low
    levels *= 255 / (high - low)
    np.rint(levels, out=levels)
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def to_uint8_image(
    image: Image.Image,
    channels: int | None = None,
    *,
    kind: Kind | None = None,
    background: Colour = (0, 0, 0),
    span: tuple[float, float] | None = None,
    met: Met | None = None,
) -> Image.Image:
    """Return an image of any mode as `L` or `RGB`.

    Args:
        image: The image.
        channels: 1 or 3; by default the one nearest to its own mode.
        kind: What its values are, for a part of an image that has lost its format.
        background: What lies behind transparent pixels.
        span: The values that become 0 and 255.
        met: Takes what is met.

    Raises:
        DataError: As for `to_levels`.
    """
    kind = kind or kind_of(image)
    if channels is None:
        channels = 1 if image.mode in GREY else 3
    if kind != "8-bit":
        image = Image.fromarray(to_levels(np.asarray(image), kind, span, met))
    else:
        transparent = has_alpha(image)
        if transparent:
            image = image.convert("RGBA")
        if span is not None and concerns_8_bit(span):
            image = _mapped(image, span)
        if transparent:
            image = _composed(image, background, met)
    if channels == 1:
        return image if image.mode == "L" else (image if image.mode == "1" else image.convert("RGB")).convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


def _mapped(image: Image.Image, span: tuple[float, float]) -> Image.Image:
    """Return an 8-bit image with a range of its levels spread over all."""
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("L" if image.mode in GREY else "RGB")
    table = _scaled(np.arange(256), span).tolist()
    return image.point(table * min(3, len(image.getbands())) + (list(range(256)) if image.mode == "RGBA" else []))


def _composed(image: Image.Image, background: Colour, met: Met | None) -> Image.Image:
    """Return an RGBA image on a colour."""
    if met is not None and image.getchannel("A").getextrema()[0] < 255:  # type: ignore[operator]
        met.transparent = 1
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")


def to_uint8_rows(
    rows: np.ndarray, channels: int, *, background: Colour, span: tuple[float, float] | None, met: Met
) -> np.ndarray:
    """Return images (N, H, W, C) of any type as uint8 (N, H, W, 1 or 3); C of 2 or 4 has transparency last.

    Raises:
        DataError: As for `to_levels`.
    """
    kind, own = kind_of_array(rows), rows.shape[-1]
    met.deep += len(rows) if kind == "16-bit" else 0
    met.floats += len(rows) if kind == "float" else 0
    if own in (1, 3):
        return np.ascontiguousarray(to_levels(rows, kind, span, met))
    full = {"float": (0, 1), "16-bit": (0, 65535)}.get(kind)
    levels = np.concatenate([to_levels(rows[..., :-1], kind, span, met), to_levels(rows[..., -1:], kind, full)], -1)
    made = []
    for row in levels:
        one = Met()
        image = Image.fromarray(row, "LA" if own == 2 else "RGBA")
        made.append(np.asarray(to_uint8_image(image, channels, background=background, met=one)))
        met.add(one)
    return np.stack(made).reshape(*rows.shape[:3], channels)


class Colours:
    """Counts the colours of an `L` or `RGB` image, up to so few that somebody chose each."""

    def __init__(self) -> None:
        self.found: set[Any] | None = set()

    @classmethod
    def of(cls, image: Image.Image) -> Colours:
        """Return the colours of a whole image."""
        colours = cls()
        colours.add(image)
        return colours

    def add(self, part: Image.Image) -> None:
        """Count the colours of a part of the image."""
        if self.found is None:
            return
        most = FEW_GREYS if part.mode == "L" else FEW_COLOURS
        listed = part.getcolors(most)
        both = None if listed is None else self.found | {colour for _, colour in listed}
        self.found = None if both is None or len(both) > most else both

    @property
    def few(self) -> int:
        """1 where the image has more than one colour and only a few, else 0."""
        return int(self.found is not None and len(self.found) > 1)
