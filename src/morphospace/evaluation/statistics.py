"""Mean and covariance of features, streamed in blocks, merged and saved: what a Frechet distance needs of a set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import SettingError

BLOCK = 4096

Features = Tensor | np.ndarray
"""Features of a set, a row an image: (N, D)."""


@dataclass(frozen=True)
class Statistics:
    """Count, mean and scatter of a set's features, in float64.

    Two of them merge into that of both sets together (Chan et al. 1979): with d = mean_b - mean_a,
    mean = mean_a + d n_b / n and M2 = M2_a + M2_b + d d^T n_a n_b / n. No sum of squares is ever taken, so features
    far from zero lose no digits.

    Attributes:
        count: N.
        mean: (D,).
        m2: Sum of (x - mean)(x - mean)^T, (D, D).
    """

    count: int
    mean: Tensor
    m2: Tensor

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, M2 / (N - 1), (D, D)."""
        return self.m2 / (self.count - 1)

    def merged(self, other: Statistics) -> Statistics:
        """Return the statistics of both sets together.

        Raises:
            SettingError: They are of different features.
        """
        if self.mean.shape != other.mean.shape:
            raise SettingError(
                f"statistics = {len(self.mean)} and {len(other.mean)} features",
                rule="must be of the same features to merge",
            )
        count = self.count + other.count
        apart = other.mean - self.mean
        m2 = self.m2 + other.m2 + torch.outer(apart, apart) * (self.count * other.count / count)
        return Statistics(count, self.mean + apart * (other.count / count), m2)

    def tensors(self) -> dict[str, Tensor]:
        """Return it as named tensors, for a file."""
        return {"count": torch.tensor(self.count), "mean": self.mean, "m2": self.m2}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Statistics:
        """Make it of what `tensors` returned."""
        return cls(int(tensors["count"]), tensors["mean"], tensors["m2"])


def matrix(features: Features, name: str = "features") -> Tensor:
    """Return features as a tensor (N, D), of the type they have.

    Raises:
        SettingError: They are no matrix of finite numbers.
    """
    read_only = isinstance(features, np.ndarray) and not features.flags.writeable  # a memory map, which torch warns of
    values = torch.as_tensor(np.array(features) if read_only else features)
    if values.dim() != 2 or not len(values) or not values.shape[1]:
        raise SettingError(f"{name} = shape {tuple(values.shape)}", rule="must be a matrix (images, features)")
    if not torch.isfinite(values).all():
        raise SettingError(
            name, rule="holds numbers that are not finite", way_out="check the images and the network they come from"
        )
    return values


def statistics_of(features: Features | Iterable[Features]) -> Statistics:
    """Return the statistics of features (N, D), or of blocks of them, one after the other.

    Args:
        features: A matrix, or matrices (B, D) in any number; only one block is in memory at a time.

    Raises:
        SettingError: There is none, or they differ in their number of features.
    """
    whole = isinstance(features, Tensor | np.ndarray)
    blocks = matrix(features).split(BLOCK) if whole else features  # type: ignore[arg-type]
    total: Statistics | None = None
    for block in blocks:
        values = matrix(block).to(torch.float64)
        mean = values.mean(0)
        centred = values - mean
        part = Statistics(len(values), mean, centred.T @ centred)
        total = part if total is None else total.merged(part)
    if total is None:
        raise SettingError("features = no blocks", rule="must hold at least one image")
    return total
