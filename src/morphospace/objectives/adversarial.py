"""What critic and generator minimise. Judgements are logits, (B,), higher for more real."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["nonsaturating_critic", "nonsaturating_generator"]


def nonsaturating_critic(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log D(real) and -log(1 - D(fake)), with D = sigmoid(logit) (Goodfellow et al. 2014).

    >>> import torch
    >>> [round(float(t), 4) for t in nonsaturating_critic(torch.zeros(1), torch.zeros(1))]
    [0.6931, 0.6931]
    """
    return functional.softplus(-real), functional.softplus(fake)


def nonsaturating_generator(fake: Tensor) -> Tensor:
    """Return -log D(fake), whose gradient does not vanish where the critic is sure."""
    return functional.softplus(-fake)
