"""Second moments of the codes of a batch, and their distance from those of N(0, I)."""

from __future__ import annotations

import torch
from torch import Tensor

from morphospace.models.distributions import full


def covariance(means: Tensor, variances: Tensor | None = None) -> Tensor:
    """Return Cov[mu] of posteriors' means (B, D), (D, D), divided by B - 1; with variances (B, D) plus their mean.

    The latter is the covariance of codes sampled from the posteriors, by the law of total variance.
    """
    centred = full(means) - full(means).mean(0)
    # In half precision the differences of large squares would be lost.
    with torch.autocast(centred.device.type, enabled=False):
        found = centred.T @ centred / max(1, len(centred) - 1)
        return found if variances is None else found + full(variances).mean(0).diag()


def from_identity(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum_{i != j} C_ij^2 and sum_i (C_ii - 1)^2 of a covariance C (D, D).

    >>> from_identity(torch.tensor([[3.0, 0.5], [0.5, 1.0]]))
    (tensor(0.5000), tensor(4.))
    """
    diagonal = covariance.diagonal()
    return covariance.square().sum() - diagonal.square().sum(), (diagonal - 1).square().sum()
