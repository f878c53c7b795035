"""Distributions: of codes (diagonal Gaussian, point) and of images given codes (the likelihoods).

Every density is in nats, one number an image: summed over its pixels or latent dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "DiagonalGaussian",
    "Point",
    "Likelihood",
    "Bernoulli",
    "Gaussian",
    "SquaredError",
    "likelihood_for",
]

# A predicted log variance beyond this is nonsense that would overflow exp() before it could be unlearned.
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

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> DiagonalGaussian:
        """Split an encoder's output (B, 2 D) into mean and log variance."""
        mean, log_variance = full(parameters).chunk(2, dim=1)
        return cls(mean, log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND))

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + exp(log_variance / 2) * noise (the reparameterisation; Kingma & Welling 2014)."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log q(z), (B,), in nats."""
        squared = (z - self.mean) ** 2 * (-self.log_variance).exp()
        return -0.5 * (squared + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def kl_per_unit(self) -> Tensor:
        """Return KL(q || N(0, 1)) of every latent dimension, (B, D), in nats.

        KL = (mean^2 + exp(log_variance) - 1 - log_variance) / 2. `expm1` keeps a nearly collapsed unit exact.
        """
        return 0.5 * (self.mean**2 + torch.expm1(self.log_variance) - self.log_variance)

    def kl(self) -> Tensor:
        """Return KL(q || N(0, I)), (B,), in nats, summed over latent dimensions."""
        return self.kl_per_unit().sum(1)


@dataclass(frozen=True, slots=True)
class Point:
    """A code without uncertainty, (B, D): what a plain autoencoder's encoder says."""

    mean: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return the code; there is nothing to draw."""
        return self.mean


class Likelihood(nn.Module):
    """p(x | z): turns a decoder's raw output into a mean image and a log density.

    Attributes:
        outputs_per_value: How many numbers the decoder gives for each number of the image.
        is_density: Whether exp(log_prob) sums or integrates to one.
    """

    outputs_per_value = 1
    is_density = True

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean image (B, C, H, W), in the range of the data."""
        raise NotImplementedError

    def log_prob(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return log p(images | raw), (B,), in nats."""
        raise NotImplementedError


class Bernoulli(Likelihood):
    """Independent Bernoulli pixels from logits; on grey pixels a cross-entropy, no density."""

    def mean(self, raw: Tensor) -> Tensor:
        """Return sigmoid(raw)."""
        return torch.sigmoid(full(raw))

    def log_prob(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return sum of x log p + (1 - x) log(1 - p), from logits, which cannot overflow."""
        return -per_image(functional.binary_cross_entropy_with_logits(full(raw), images, reduction="none"))


class BoundedMean(Likelihood):
    """Base of the Gaussians: the mean is sigmoid(raw) for pixels in [0, 1] and tanh(raw) for [-1, 1]."""

    def __init__(self, signed: bool) -> None:
        super().__init__()
        self.signed = signed

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean image, within the range of the data."""
        return torch.tanh(full(raw)) if self.signed else torch.sigmoid(full(raw))

    def squared_error(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return the squared error, (B,), summed over pixels."""
        return per_image((self.mean(raw) - images) ** 2)


class SquaredError(BoundedMean):
    """-||x - mean||^2, without a half: a Gaussian of variance 1/2 without its constant."""

    is_density = False

    def log_prob(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return minus the summed squared error."""
        return -self.squared_error(raw, images)


class Gaussian(BoundedMean):
    """Independent Gaussian pixels with one variance for all of them.

    log p = -||x - mean||^2 / (2 s^2) - D/2 log(2 pi s^2), s^2 being `fixed`, `learned` by gradient, or `calibrated`
    to the mean squared error: while training the batch's own, which is where the density is largest, so that
    no gradient through s^2 is needed (Rybkin, Daniilidis & Levine 2021, "sigma-VAE"); otherwise its running mean.

    Args:
        signed: Whether pixels are in [-1, 1].
        variance: `fixed`, `learned` or `calibrated`.
        sigma: Standard deviation, fixed or to begin with.
    """

    # Finer than the step between two of 256 levels the density would only fit the rounding of the data.
    finest = 1 / (255 * math.sqrt(12))
    momentum = 0.01

    def __init__(self, signed: bool, variance: str, sigma: float) -> None:
        super().__init__(signed)
        self.kind = variance
        start = torch.tensor(2 * math.log(sigma))
        if variance == "learned":
            self.log_variance = nn.Parameter(start)
        else:
            self.register_buffer("log_variance", start)

    def log_prob(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return the log density, (B,), in nats."""
        squared = self.squared_error(raw, images)
        values = images[0].numel()
        log_variance = self.log_variance.to(squared.dtype)
        if self.kind == "calibrated" and self.training:
            log_variance = (squared.detach().mean() / values).log()
            with torch.no_grad():
                # In logarithms: from the first batch's error to the last one's is a fall by orders of magnitude.
                self.log_variance.lerp_(log_variance.to(self.log_variance.dtype), self.momentum)
        log_variance = log_variance.clamp(min=2 * math.log(self.finest))
        return -0.5 * (squared * (-log_variance).exp() + values * (log_variance + math.log(2 * math.pi)))


def likelihood_for(kind: str, *, signed: bool = False, variance: str = "fixed", sigma: float = 1.0) -> Likelihood:
    """Return the likelihood that the settings name."""
    if kind == "bernoulli":
        return Bernoulli()
    if kind == "squared-error":
        return SquaredError(signed)
    return Gaussian(signed, variance, sigma)
