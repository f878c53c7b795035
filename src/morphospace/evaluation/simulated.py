"""Images simulated from a model: drawn from p(x | z), not its mean, so that the code is an exact posterior draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.evaluation.annealed import Decoder
from morphospace.models.distributions import full
from morphospace.models.likelihoods import (
    LEVELS,
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
)
from morphospace.randomness import stream


@dataclass(frozen=True)
class Simulated:
    """Images of a model with the codes they were drawn with: z ~ p(z), x ~ p(x | z).

    Attributes:
        images: (N, C, H, W), in the model's range.
        codes: (N, D).
    """

    images: Tensor
    codes: Tensor


def _in_range(levels: Tensor, signed: bool) -> Tensor:
    return levels / 127.5 - 1 if signed else levels / 255


def drawn_images(likelihood: Likelihood, raw: Tensor, generator: torch.Generator) -> Tensor:
    """Draw images from p(x | raw), in the model's range.

    Raises:
        SettingError: If images cannot be drawn from it, because it is no density.
    """
    values = full(raw)
    if isinstance(likelihood, Gaussian):
        mean = likelihood.mean(raw)
        sigma = (0.5 * likelihood.log_variance.to(mean.dtype)).exp().clamp(min=likelihood.finest)
        return mean + sigma * torch.randn(mean.shape, generator=generator).to(mean)
    if isinstance(likelihood, Categorical):
        logits = likelihood.logits(raw)
        uniform = torch.rand(logits.shape, generator=generator).to(logits).clamp(1e-12, 1 - 1e-7)
        levels = (logits - (-uniform.log()).log()).argmax(-1).permute(0, 3, 1, 2)  # Gumbel's trick
        return _in_range(levels.to(values.dtype), likelihood.signed)
    if isinstance(likelihood, DiscretisedLogistic):
        location, rate = likelihood.parameters_of(raw)
        logistic = _logit(torch.rand(location.shape, generator=generator).to(location)) / rate
        levels = ((location + logistic + 1) * 127.5).round().clamp(0, LEVELS - 1)
        return _in_range(levels, likelihood.signed)
    if isinstance(likelihood, Bernoulli):
        uniform = torch.rand(values.shape, generator=generator).to(values)
        if not isinstance(likelihood, ContinuousBernoulli):
            return (uniform < likelihood.mean(raw)).to(values.dtype)
        # F(x) = (e^(l x) - 1) / (e^l - 1), inverted; where l is near 0 it is uniform.
        near = values.abs() < 1e-3
        logits = values.masked_fill(near, 1.0).clamp(-80, 80)
        return torch.where(near, uniform, torch.log1p(uniform * torch.expm1(logits)) / logits).clamp(0, 1)
    way_out = "train with --likelihood gaussian, bernoulli or discretised-logistic"
    raise SettingError("likelihood", type(likelihood).__name__, "is no density to draw images from", way_out)


def _logit(uniform: Tensor) -> Tensor:
    safe = uniform.clamp(1e-7, 1 - 1e-7)
    return safe.log() - torch.log1p(-safe)


@torch.no_grad()
def simulate(
    raw: Decoder,
    likelihood: Likelihood,
    codes: Tensor,
    *,
    condition: Tensor | None = None,
    seed: int = 0,
    start: int = 0,
) -> Simulated:
    """Draw one image for each code (N, D); image i depends on (seed, start + i) only.

    Args:
        raw: The decoder.
        likelihood: p(x | z) of its raw outputs.
        codes: Draws from the prior.
        condition: (N, K), where the model is conditional.
        seed: Of the pixels.
        start: Number of the first image.
    """
    made = []
    for i in range(len(codes)):
        generator = torch.Generator().manual_seed(stream(seed, "simulate", start + i))
        one = None if condition is None else condition[i : i + 1]
        made.append(drawn_images(likelihood, raw(codes[i : i + 1], one), generator))
    return Simulated(torch.cat(made), codes)
