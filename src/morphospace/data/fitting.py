"""The pixels of an image -> those of the target's size: crop, resample, pad."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from morphospace.data.rule import Rule
from morphospace.data.values import Colours, Met, to_uint8_image


class Placement(NamedTuple):
    """Which part of a `width` x `height` image is resized, and to which size; the rest of the target is background."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]


def placement(width: int, height: int, rule: Rule) -> Placement:
    """Return what a rule takes of an image of that size, and how large it becomes."""
    whole, target = (0, 0, width, height), (rule.width, rule.height)
    if (width, height) == target or rule.crop == "stretch":
        return Placement(whole, target)
    if rule.crop == "pad":
        scale = min(rule.width / width, rule.height / height)
        sides = (max(1, min(most, round(side * scale))) for most, side in zip(target, (width, height)))
        return Placement(whole, (next(sides), next(sides)))
    scale = min(width / rule.width, height / rule.height)  # the largest part of the target's aspect, in the middle
    wide, high = rule.width * scale, rule.height * scale
    left, top = max(0.0, (width - wide) / 2), max(0.0, (height - high) / 2)  # rounding may fall below 0
    return Placement((left, top, min(left + wide, width), min(top + high, height)), target)


def resampling(rule: Rule) -> Image.Resampling:
    """Return Pillow's name of a rule's filter."""
    return Image.Resampling[rule.resize.upper()]


def nearest_pixels(begin: float, end: float, count: int, length: int) -> np.ndarray:
    """Return the pixels in whose middle `count` equal pieces of a side have theirs."""
    middles = begin + (np.arange(count) + 0.5) * ((end - begin) / count)
    return np.clip(middles.astype(np.int64), 0, length - 1)


def resized(image: Image.Image, where: Placement, rule: Rule) -> Image.Image:
    """Return the part of an image that is used, at its size in the target."""
    if image.size == where.size:
        return image
    if rule.resize != "nearest":
        return image.resize(where.size, resampling(rule), box=where.box)
    left, top, right, bottom = where.box
    rows = nearest_pixels(top, bottom, where.size[1], image.height)
    columns = nearest_pixels(left, right, where.size[0], image.width)
    return Image.fromarray(np.asarray(image)[rows][:, columns])


def padded(image: Image.Image, rule: Rule) -> Image.Image:
    """Return an image in the middle of the target, with the background around it."""
    size = (rule.width, rule.height)
    if image.size == size:
        return image
    colour = Image.new("RGB", size, rule.background)
    whole = colour if image.mode == "RGB" else colour.convert(image.mode)
    whole.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return whole


def _resampled(image: Image.Image, rule: Rule) -> Image.Image:
    return padded(resized(image, placement(*image.size, rule), rule), rule)


def fit(image: Image.Image | np.ndarray, rule: Rule, met: Met | None = None) -> np.ndarray:
    """Resample an image, or its (H, W) or (H, W, C) uint8 pixels, to `rule`; `met` takes what is met.

    Returns:
        uint8 array of `rule.shape`.
    """
    if isinstance(image, np.ndarray):
        if image.shape == rule.shape:
            return image
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    levels = to_uint8_image(image, rule.channels)
    if met is not None and averages(levels.size, rule):
        met.few_colours = Colours.of(levels).few
    return np.asarray(_resampled(levels, rule)).reshape(rule.shape)


def averages(size: tuple[int, int], rule: Rule) -> bool:
    """Return whether resampling an image of (width, height) mixes pixels, so that new colours arise."""
    return rule.resize != "nearest" and size != (rule.width, rule.height)


def fit_mask(mask: np.ndarray, rule: Rule) -> np.ndarray:
    """Carry an (H, W, M) 0/1 mask through the same crop as its image, by nearest neighbour."""
    where = placement(mask.shape[1], mask.shape[0], rule)
    layers = []
    for m in range(mask.shape[-1]):
        layer = Image.fromarray(mask[..., m])
        if layer.size != where.size:
            layer = layer.resize(where.size, Image.Resampling.NEAREST, box=where.box)
        whole = Image.new("L", (rule.width, rule.height), 0)
        whole.paste(layer, ((rule.width - layer.width) // 2, (rule.height - layer.height) // 2))
        layers.append(np.asarray(whole))
    return np.stack(layers, axis=-1)
