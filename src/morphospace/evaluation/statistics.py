"""Checked matrices of features, and their moments: what a Frechet distance needs of a set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.latent.components import Moments

BLOCK = 4096

Features = Tensor | np.ndarray
"""Features of a set, a row an image: (N, D)."""


def matrix(features: Features, name: str = "features") -> Tensor:
    """Return features as a tensor (N, D), of the type they have.

    Raises:
        SettingError: If they are no matrix of finite numbers.
    """
    read_only = isinstance(features, np.ndarray) and not features.flags.writeable  # a memory map, which torch warns of
    values = torch.as_tensor(np.array(features) if read_only else features)
    if values.dim() != 2 or not len(values) or not values.shape[1]:
        raise SettingError(f"{name} = shape {tuple(values.shape)}", rule="must be a matrix (images, features)")
    if not torch.isfinite(values).all():
        rule = "holds numbers that are not finite"
        raise SettingError(name, rule=rule, way_out="check the images and the network they come from")
    return values


def statistics_of(features: Features | Iterable[Features]) -> Moments:
    """Return the moments of features (N, D), or of blocks of them, one after the other.

    Raises:
        SettingError: If there is none, or if they differ in their number of features.
    """
    whole = isinstance(features, Tensor | np.ndarray)
    blocks = matrix(features).split(BLOCK) if whole else features  # type: ignore[arg-type]
    total: Moments | None = None
    for block in blocks:
        values = matrix(block)
        part = Moments.of([values], values.shape[1])
        total = part if total is None else total.merge(part)
    if total is None:
        raise SettingError("features = no blocks", rule="must hold at least one image")
    return total
