"""Traversals: move one code along one direction at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 8  # directions decoded together


@dataclass(frozen=True)
class Change:
    """What a walk along one direction does to an image.

    Attributes:
        index: Number of the direction.
        size: Mean squared change of a pixel against the image walked from, over the steps; pixels in [0, 1].
    """

    index: int
    size: float


def walked(start: Tensor, direction: Tensor, strengths: Tensor) -> Tensor:
    """Return start + s direction, (S, D), for every strength s (S,); both are (D,)."""
    return start + strengths.to(start)[:, None] * direction.to(start)


def plane(start: Tensor, across: Tensor, up: Tensor, strengths: Tensor) -> Tensor:
    """Return a grid of codes (S * S, D), row by row as a picture has them: across to the right, up upwards.

    Args:
        start: (D,): the middle, where both strengths are 0.
        across: (D,): how far strength 1 goes to the right.
        up: (D,): how far strength 1 goes upwards.
        strengths: (S,), rising.
    """
    s = strengths.to(start)
    rows = start + s.flip(0)[:, None, None] * up.to(start) + s[None, :, None] * across.to(start)
    return rows.flatten(0, 1)


def changes(
    decode: Callable[[Tensor], np.ndarray], start: Tensor, directions: Tensor, strengths: Tensor
) -> list[Change]:
    """Return what each direction changes in the image, the one that changes most first.

    Args:
        decode: Codes (N, D) to uint8 images (N, H, W, C).
        start: (D,).
        directions: (K, D): how far strength 1 goes along each.
        strengths: (S,).
    """
    origin = decode(start[None])[0].astype(np.float64)
    found = []
    for first in range(0, len(directions), AT_ONCE):
        several = directions[first : first + AT_ONCE]
        codes = torch.cat([walked(start, direction, strengths) for direction in several])
        squared = ((decode(codes) - origin) / 255) ** 2
        each = squared.reshape(len(several), -1).mean(1)
        found += [Change(first + i, float(size)) for i, size in enumerate(each)]
    return sorted(found, key=lambda change: -change.size)  # stable: equal ones stay in order


def working(separations: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return how well directions work, from 0 to 1 each: how well they separate, times how visible they are.

    A direction that separates images perfectly and changes no pixel scores 0, as does one that changes the image and
    separates nothing. Half of the visibility is reached by the median of all changes, so that an attribute of few
    pixels is not hidden by one of many.

    Args:
        separations: Balanced accuracy of each, .5 being chance; NaN counts as chance.
        sizes: What each changes in the image, as `Change.size`.

    >>> [round(score, 2) for score in working([1.0, 0.5, 0.9], [0.01, 0.04, 0.02])]
    [0.33, 0.0, 0.4]
    """
    middle = float(np.median(sizes)) if len(sizes) else 0.0
    apart = [0.0 if math.isnan(one) else max(0.0, 2 * one - 1) for one in separations]
    return [s * (size / (size + middle) if size else 0.0) for s, size in zip(apart, sizes, strict=True)]
