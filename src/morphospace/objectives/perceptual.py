"""A distance between images by the features of a network, in place of their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def perceptual_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the distance of two batches of images by their feature maps, from 0 to 4, (B,).

    At each place of a map both feature vectors are made of length 1, and their squared distance is taken: twice one
    minus their cosine. It is averaged over the places of a map, and over the maps. That is LPIPS (Zhang et al. 2018)
    with equal weights of all channels, and a mean over the maps where they sum.

    Args:
        first: Feature maps (B, C, h, w), of one or several layers.
        second: Those of the other images.
    """
    each = [
        (functional.normalize(a, dim=1, eps=1e-6) - functional.normalize(b, dim=1, eps=1e-6)).square().sum(1)
        for a, b in zip(first, second, strict=True)
    ]
    return torch.stack([squared.flatten(1).mean(1) for squared in each]).mean(0)
