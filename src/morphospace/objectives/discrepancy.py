"""The squared maximum mean discrepancy (MMD): how far two sets of codes lie apart (Gretton et al. 2012).

MMD^2 = E k(z, z') + E k(y, y') - 2 E k(z, y) for codes z, z' ~ q and y, y' ~ p: 0 only where q = p, for the kernels
here. Every kernel depends on the squared distance of two codes and on their dimension alone, never on the batch:
that keeps the estimate unbiased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from morphospace.models.distributions import full

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the multiquadrics that are summed, as in the code of Tolstikhin et al. 2018."""


def inverse_multiquadrics(squared: Tensor, dim: int) -> Tensor:
    """Return sum_s C_s / (C_s + |z - y|^2), C_s = 2 D s for the scales s: at most 7.

    2 D is what |z - y|^2 is on average for two codes of N(0, I) in D dimensions. The tails fall slowly, so that a code
    far away is still drawn to the others.

    >>> round(float(inverse_multiquadrics(torch.tensor(4.0), dim=2)), 4)  # the sum of s / (s + 1)
    3.5
    """
    return torch.stack([2 * dim * scale / (2 * dim * scale + squared) for scale in SCALES]).sum(0)


def gaussian(squared: Tensor, dim: int) -> Tensor:
    """Return exp(-|z - y|^2 / (2 D)): at most 1."""
    return (-squared / (2 * dim)).exp()


KERNELS: Mapping[str, Callable[[Tensor, int], Tensor]] = {"imq": inverse_multiquadrics, "rbf": gaussian}


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return |a_i - b_j|^2 of codes (N, D) and (M, D), (N, M)."""
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)


def unbiased(of_a: Tensor, of_b: Tensor, across: Tensor) -> Tensor:
    """Return the unbiased estimate of MMD^2, a scalar that may be below 0, from the kernel's values between pairs.

    Its expectation is 0 where both sets are of one distribution, because no code is compared with itself. A set of one
    has no pairs and counts 0.

    Args:
        of_a: Between a set and itself, (N, N).
        of_b: Between the other and itself, (M, M).
        across: Between both, (N, M).
    """
    within = [(k.sum() - k.diagonal().sum()) / max(1, len(k) * (len(k) - 1)) for k in (of_a, of_b)]
    return within[0] + within[1] - 2 * across.mean()


def squared_mmd(a: Tensor, b: Tensor, kernel: str = "imq") -> Tensor:
    """Return the unbiased MMD^2 of codes (N, D) and (M, D), a scalar, by the kernel `imq` or `rbf`."""
    a, b, k = full(a), full(b), KERNELS[kernel]
    # In half precision the differences of large squares would be lost.
    with torch.autocast(a.device.type, enabled=False):
        of_a, of_b, across = (k(squared_distances(*pair), a.shape[1]) for pair in ((a, a), (b, b), (a, b)))
        return unbiased(of_a, of_b, across)
