"""Distributions of codes: diagonal Gaussian, Gaussians level by level, and point. Those of images are in `likelihoods`.

Every log density is in nats, one number an image: summed over its latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A predicted log variance beyond this would overflow exp() before training could correct it.
LOG_VARIANCE_BOUND = 30.0


def full(values: Tensor) -> Tensor:
    """Return values in float32 at least: densities are not summed in half precision."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def per_image(values: Tensor) -> Tensor:
    """Sum everything but the first dimension."""
    return values.flatten(1).sum(1)


@dataclass(frozen=True, slots=True)
class DiagonalGaussian:
    """N(mean, diag(exp(log_variance))) for codes (B, D)."""

    mean: Tensor
    log_variance: Tensor

    @property
    def dim(self) -> int:
        """Number D of latent dimensions."""
        return self.mean.shape[1]

    @classmethod
    def from_parameters(cls, output: Tensor | Sequence[Tensor]) -> DiagonalGaussian:
        """Return q(z | x) from an encoder's output: mean and log variance as one tensor (B, 2 D), or two of (B, D)."""
        mean, log_variance = output.chunk(2, dim=1) if isinstance(output, Tensor) else output
        return cls(full(mean), full(log_variance).clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND))

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + exp(log_variance / 2) * noise (the reparameterisation; Kingma & Welling 2014)."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def drawn(self, noise: Tensor) -> tuple[Tensor, DiagonalGaussian]:
        """Return the codes that noise (B, D) makes, and the Gaussian that they are from: here the posterior itself."""
        return self.sample(noise), self

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log q(z), (B,), in nats."""
        squared = (z - self.mean) ** 2 * (-self.log_variance).exp()
        return -0.5 * (squared + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """Return -E log q(z), (B,), in nats: sum_d (log_variance_d + log 2 pi e) / 2."""
        return 0.5 * (self.log_variance + math.log(2 * math.pi * math.e)).sum(-1)

    def repeated(self, times: int) -> DiagonalGaussian:
        """Return each row `times` times in a row, (B * times, D), for as many draws of each code."""
        if times == 1:
            return self
        each = (values.repeat_interleave(times, 0) for values in (self.mean, self.log_variance))
        return DiagonalGaussian(*each)

    def detached(self) -> DiagonalGaussian:
        """Return the same distribution, through whose parameters no gradient passes."""
        return DiagonalGaussian(self.mean.detach(), self.log_variance.detach())

    def kl_per_unit(self) -> Tensor:
        """Return KL(q || N(0, 1)) of every latent dimension, (B, D), in nats.

        KL = (mean^2 + exp(log_variance) - 1 - log_variance) / 2. `expm1` keeps a nearly collapsed unit exact.
        """
        return 0.5 * (self.mean**2 + torch.expm1(self.log_variance) - self.log_variance)

    def kl(self) -> Tensor:
        """Return KL(q || N(0, I)), (B,), in nats, summed over latent dimensions."""
        return self.kl_per_unit().sum(1)


Choose = Callable[[DiagonalGaussian, slice], Tensor]
"""Returns the code of a level, (B, d), given its Gaussian and which of the D latent dimensions are its own."""


@dataclass(frozen=True, slots=True)
class TopDownGaussian:
    """q(z_1 | x) q(z_2 | z_1, x) ...: each level of a code (B, D) is Gaussian given the levels above it.

    Given a code, the Gaussians of all levels are one diagonal Gaussian. Its log density at this code is log q(z | x),
    and its KL, averaged over codes from q, is the KL of q.

    Attributes:
        seen: What the encoder has of each image, tensors (B, ...).
        descend: Goes through the levels from the top, given `seen` and how to choose each level's code. Returns the
            codes (B, D), and the Gaussian (B, D) that each was chosen from.
        dim: Number D of latent dimensions.
    """

    seen: tuple[Tensor, ...]
    descend: Callable[[tuple[Tensor, ...], Choose], tuple[Tensor, DiagonalGaussian]]
    dim: int

    @property
    def mean(self) -> Tensor:
        """The code of each image if every level takes its mean, from the top, (B, D)."""
        return self.descend(self.seen, lambda gaussian, units: gaussian.mean)[0]

    def sample(self, noise: Tensor) -> Tensor:
        """Return the codes (B, D) that noise makes, level by level."""
        return self.drawn(noise)[0]

    def drawn(self, noise: Tensor) -> tuple[Tensor, DiagonalGaussian]:
        """Return the codes that noise (B, D) makes, and the Gaussian that each level is from given those above it."""
        return self.descend(self.seen, lambda gaussian, units: gaussian.sample(noise[:, units]))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log q(z), (B,), in nats."""
        return self.descend(self.seen, lambda gaussian, units: z[:, units])[1].log_prob(z)

    def repeated(self, times: int) -> TopDownGaussian:
        """Return the posterior of each image `times` times in a row, for as many draws of each code."""
        if times == 1:
            return self
        seen = tuple(values.repeat_interleave(times, 0) for values in self.seen)
        return TopDownGaussian(seen, self.descend, self.dim)


@dataclass(frozen=True, slots=True)
class Point:
    """A code without uncertainty, (B, D): the output of a plain autoencoder's encoder."""

    mean: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return the code itself."""
        return self.mean


@dataclass(frozen=True, slots=True)
class Quantised:
    """A code of a finite set, known with certainty: that to which the encoder's output `mean` (B, D) is quantised."""

    mean: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return the encoder's output itself, which the decoder quantises."""
        return self.mean


Posterior = DiagonalGaussian | TopDownGaussian | Point | Quantised
"""What an encoder returns."""
