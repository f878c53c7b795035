"""How any image becomes uint8 pixels of one shape: the rule, its text in a manifest, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from morphospace.data.sizes import Colour, parse_background, parse_range, written_colour, written_range
from morphospace.errors import DataError, SettingError, require

Crop = Literal["center", "stretch", "pad"]
Resize = Literal["bicubic", "bilinear", "lanczos", "box", "nearest"]

MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Rule:
    """How any image becomes `height` x `width` x `channels` pixels of uint8.

    Attributes:
        height: Rows in pixels.
        width: Columns in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        crop: `center`, `stretch` or `pad`, as in `DataSettings`.
        max_pixels: Images with more pixels than this (WebP: than half of it) are refused as decompression bombs.
        background: What lies behind transparent pixels and around an image that `pad` fits in.
        resize: The filter of the resize; all but `nearest` average where the image shrinks.
        range: The values that become 0 and 255; None for the full range of each image's own type.
    """

    height: int
    width: int
    channels: int
    crop: Crop = "center"
    max_pixels: int = MAX_PIXELS
    background: Colour = (0, 0, 0)
    resize: Resize = "bicubic"
    range: tuple[float, float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    def ways(self) -> dict[str, Any]:
        """Return what the shape does not say, as a manifest and a run's file hold it; `rule_of` reads it back."""
        background = written_colour(self.background)
        said: dict[str, Any] = {"crop": self.crop, "background": background, "resize": self.resize}
        return said if self.range is None else {**said, "range": list(self.range)}


def rule_of(shape: tuple[int, int, int], ways: Mapping[str, Any], max_pixels: int = MAX_PIXELS) -> Rule:
    """Return the rule that a manifest or a run's file describes; what it does not name is as by default.

    Raises:
        DataError: If it names something that no rule has.
    """
    crop, resize = ways.get("crop", Rule.crop), ways.get("resize", Rule.resize)
    try:
        require(crop in get_args(Crop), "crop", crop, f"must be one of {', '.join(get_args(Crop))}")
        require(resize in get_args(Resize), "resize", resize, f"must be one of {', '.join(get_args(Resize))}")
        values = ways.get("range")
        text = None if values is None else written_range(values)
        colour = parse_background(ways.get("background"))
        span = parse_range(text)
    except (SettingError, TypeError, ValueError) as error:
        raise DataError("rule", rule=f"cannot be read ({error})", way_out="pack the images again") from None
    return Rule(*shape, crop, max_pixels, colour or Rule.background, resize, None if span == "auto" else span)
