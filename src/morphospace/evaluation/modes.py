"""Which modes samples show: how many there are, and how unevenly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Modes:
    """What samples show.

    Attributes:
        found: Modes of which at least one sample was seen.
        shared: Modes that have a quarter of their share in the data at least: a judge that errs finds few of those.
        kl: KL(samples || data) of the modes' shares, in nats.
    """

    found: int
    shared: int
    kl: float


def modes_of(seen: Tensor, expected: Tensor) -> Modes:
    """Count the modes that samples show.

    KL(p || q) = sum p log(p / q) over the modes, p their shares among samples, q in the data. As in the tables on
    Stacked MNIST, one sample finds a mode, and shares are plain ones; the data's are smoothed by one image a mode.

    Args:
        seen: The mode of each sample, (N,), integers below K.
        expected: Images of the data in each mode, (K,).

    Reference: Metz et al. 2017, "Unrolled generative adversarial networks"; Lin et al. 2018, "PacGAN".

    >>> found = modes_of(torch.tensor([0, 0, 1, 1]), torch.tensor([9, 9, 9, 9]))
    >>> found.found, round(found.kl, 3)
    (2, 0.693)
    """
    counts = torch.bincount(seen, minlength=len(expected)).double()
    p, q = counts / counts.sum(), (expected.double() + 1) / (expected.sum() + len(expected))
    there = p > 0
    shared = there & (p >= 0.25 * q)
    return Modes(int(there.sum()), int(shared.sum()), float((p[there] * (p[there] / q[there]).log()).sum()))
