"""Annealed importance sampling: lower bounds on log p(x), and upper bounds for data simulated from the model.

The true value lies between the two (bidirectional Monte Carlo). Wu, Burda, Salakhutdinov & Grosse 2017, "On the
quantitative analysis of decoder-based generative models"; Grosse, Ghahramani & Adams 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.evaluation.likelihood import log_likelihood
from morphospace.models.likelihoods import (
    Likelihood,
)
from morphospace.models.priors import Normal, Prior
from morphospace.randomness import stream

Decoder = Callable[[Tensor, Tensor | None], Tensor]
"""Codes (B, D) and conditions (B, K) or None -> the raw outputs of which the likelihood is."""


@dataclass(frozen=True)
class Annealing:
    """How long to anneal.

    Attributes:
        temperatures: Steps from the prior to the posterior.
        chains: Chains an image, whose weights are averaged.
        leapfrog: Leapfrog steps of each Hamiltonian move.
        target: Share of moves to be accepted, to which step sizes are tuned.
    """

    temperatures: int = 500
    chains: int = 16
    leapfrog: int = 10
    target: float = 0.65

    def __post_init__(self) -> None:
        require(2 <= self.temperatures <= 1_000_000, "temperatures", self.temperatures, "must be from 2 to 1000000")
        require(1 <= self.chains <= 10_000, "chains", self.chains, "must be from 1 to 10000")
        require(1 <= self.leapfrog <= 1000, "leapfrog", self.leapfrog, "must be from 1 to 1000")
        require(0 < self.target < 1, "target", self.target, "must be between 0 and 1")


@dataclass(frozen=True)
class Annealed:
    """Bounds of log p(x) in nats, one an image, each in expectation over the chains.

    Attributes:
        lower: (N,), float64: of the chains from the prior.
        upper: (N,), of the chains back from an exact posterior draw; None where there was none.
        accepted: Share of moves that were accepted.
    """

    lower: Tensor
    upper: Tensor | None
    accepted: float

    @property
    def gap(self) -> float | None:
        """Mean of upper minus lower: the remaining uncertainty."""
        return None if self.upper is None else float((self.upper - self.lower).mean())


def sigmoid_schedule(count: int, steepness: float = 4.0) -> list[float]:
    """Return inverse temperatures 0 = b_0 < ... < b_count = 1, closest together at both ends (Wu et al. 2017).

    >>> sigmoid_schedule(2)
    [0.0, 0.5, 1.0]
    """
    ends = 1 / (1 + math.exp(steepness)), 1 / (1 + math.exp(-steepness))
    inner = (1 / (1 + math.exp(-steepness * (2 * t / count - 1))) for t in range(1, count))
    return [0.0, *((value - ends[0]) / (ends[1] - ends[0]) for value in inner), 1.0]


class _Chains:
    """The chains of some images: R = images x chains codes (R, D), and where their noise comes from.

    Each image has a generator of its own, so that its bounds depend on (seed, its number) only.
    """

    def __init__(
        self,
        images: Tensor,
        raw: Decoder,
        likelihood: Likelihood,
        prior: Prior,
        condition: Tensor | None,
        s: Annealing,
    ) -> None:
        self.prior = prior
        self.images, self.likelihood, self.settings, self._raw = images, likelihood, s, raw
        self.condition = None if condition is None else condition.repeat_interleave(s.chains, 0)
        self.accepted: list[float] = []

    def seeded(self, seed: int, what: str, rows: Sequence[int]) -> None:
        """Seed the noise of the next pass."""
        self.generators = [torch.Generator().manual_seed(stream(seed, what, row)) for row in rows]

    def normal(self, dim: int) -> Tensor:
        """Draw standard normal noise (R, D)."""
        made = [torch.randn(self.settings.chains, dim, generator=g) for g in self.generators]
        return torch.cat(made).to(self.images)

    def uniform(self) -> Tensor:
        """Draw numbers in [0, 1), (R,)."""
        return torch.cat([torch.rand(self.settings.chains, generator=g) for g in self.generators]).to(self.images)

    def log_likelihood(self, z: Tensor) -> Tensor:
        """Return log p(x | z), (R,)."""
        return log_likelihood(self.likelihood, self._raw(z, self.condition), self.images).flatten()

    def sloped(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x | z), (R,), and its gradient by z, (R, D)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.log_likelihood(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    def pull(self, z: Tensor) -> Tensor:
        """Return the gradient of log p(z) by z, (R, D)."""
        if isinstance(self.prior, Normal):
            return -z
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.prior.log_prob(z).sum(), z)
        return gradient

    def move(self, z: Tensor, beta: float, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take one Hamiltonian move that leaves p(z) p(x | z)^beta as it is.

        Args:
            z: Codes (R, D).
            beta: Inverse temperature.
            steps: Length of a leapfrog step, (R,).

        Returns:
            Codes, their log p(x | z), and the chance (R,) that the move had to be accepted.
        """
        momentum, step = self.normal(z.shape[1]), steps[:, None]
        value, gradient = self.sloped(z)
        energy = 0.5 * momentum.square().sum(1) - self.prior.log_prob(z) - beta * value
        moved, pushed, seen = z, momentum + 0.5 * step * (beta * gradient + self.pull(z)), value
        for i in range(self.settings.leapfrog):
            moved = moved + step * pushed
            seen, gradient = self.sloped(moved)
            half = 0.5 if i == self.settings.leapfrog - 1 else 1.0
            pushed = pushed + half * step * (beta * gradient + self.pull(moved))
        after = 0.5 * pushed.square().sum(1) - self.prior.log_prob(moved) - beta * seen
        chance = (energy - after).double().exp().clamp(max=1.0).nan_to_num(nan=0.0)
        taken = self.uniform() < chance
        self.accepted.append(float(chance.mean()))
        return torch.where(taken[:, None], moved, z), torch.where(taken, seen, value), chance


def _forward(
    chains: _Chains, dim: int, betas: Sequence[float], steps: list[Tensor] | None
) -> tuple[Tensor, list[Tensor]]:
    """Go from the prior to the posterior; returns log weights (R,) and the step sizes of every temperature.

    Step sizes that are not given are tuned on the way, which biases the weights: tune first, then go again.
    """
    s, many = chains.settings, len(chains.images)
    z = chains.prior.from_noise(chains.normal(dim))
    value = chains.log_likelihood(z)
    weights = torch.zeros(len(z), dtype=torch.float64)
    size = torch.full((many,), 0.1).to(chains.images)
    used: list[Tensor] = []
    for t in range(1, len(betas)):
        weights += (betas[t] - betas[t - 1]) * value.double().cpu()
        if t == len(betas) - 1:
            break  # a move within the posterior changes no weight any more
        used.append((size if steps is None else steps[t - 1]).clone())
        z, value, chance = chains.move(z, betas[t], used[-1].repeat_interleave(s.chains))
        rate = chance.view(many, s.chains).mean(1).to(size)
        size = (size * (0.2 * (rate - s.target)).exp()).clamp(1e-5, 2.0)
    return weights, used


def _backward(chains: _Chains, z: Tensor, betas: Sequence[float], steps: list[Tensor]) -> Tensor:
    """Go from exact posterior draws (R, D) back to the prior; returns the log weights of that path forward, (R,)."""
    value = chains.log_likelihood(z)
    weights = torch.zeros(len(z), dtype=torch.float64)
    for t in range(len(betas) - 1, 0, -1):
        if t < len(betas) - 1:
            z, value, _ = chains.move(z, betas[t], steps[t - 1].repeat_interleave(chains.settings.chains))
        weights += (betas[t] - betas[t - 1]) * value.double().cpu()
    return weights


@torch.no_grad()
def annealed_bounds(
    raw: Decoder,
    likelihood: Likelihood,
    images: Tensor,
    dim: int,
    *,
    prior: Prior | None = None,
    settings: Annealing | None = None,
    posterior_draws: Tensor | None = None,
    condition: Tensor | None = None,
    seed: int = 0,
    start: int = 0,
    together: int = 64,
) -> Annealed:
    """Estimate log p(x) = log E_p(z) p(x | z) by annealing from the prior to the posterior; no encoder is needed.

    The mean weight of the chains is unbiased for p(x), so its logarithm is a lower bound in expectation. Back from an
    exact posterior draw the mean of 1 / weight is unbiased for 1 / p(x), which gives an upper bound. Only of images
    that were drawn from the model itself is an exact posterior draw known: the code they were drawn with.

    Step sizes are tuned in a first pass and held in the one that counts: else the weights would not be unbiased.

    Args:
        raw: The decoder.
        likelihood: p(x | z) of its raw outputs, a density.
        images: (N, C, H, W), as the likelihood has them.
        dim: Latent dimension D.
        prior: p(z); N(0, I) when None.
        settings: How long to anneal.
        posterior_draws: (N, D), the codes that the images were simulated with, for the upper bound.
        condition: (N, K), where the model is conditional.
        seed: Of the chains; image i's depend on (seed, start + i) only.
        start: Number of the first image.
        together: Images whose chains run side by side.
    """
    way_out = "train with one that is, such as gaussian, or bernoulli on binarised images"
    require(
        likelihood.is_density, "likelihood", type(likelihood).__name__, "is no density, so there is no p(x)", way_out
    )
    s = settings or Annealing()
    betas = sigmoid_schedule(s.temperatures)
    lowers: list[Tensor] = []
    uppers: list[Tensor] = []
    accepted: list[float] = []
    for first in range(0, len(images), together):
        part = slice(first, min(first + together, len(images)))
        rows = range(start + part.start, start + part.stop)
        some = None if condition is None else condition[part]
        chains = _Chains(images[part], raw, likelihood, prior or Normal(), some, s)
        chains.seeded(seed, "tune", rows)
        _, steps = _forward(chains, dim, betas, None)
        chains.accepted.clear()
        chains.seeded(seed, "forward", rows)
        weights, _ = _forward(chains, dim, betas, steps)
        lowers.append(weights.view(-1, s.chains).logsumexp(1) - math.log(s.chains))
        accepted += chains.accepted
        if posterior_draws is not None:
            chains.seeded(seed, "backward", rows)
            codes = posterior_draws[part].to(images).repeat_interleave(s.chains, 0)
            weights = _backward(chains, codes, betas, steps)
            uppers.append(math.log(s.chains) - (-weights).view(-1, s.chains).logsumexp(1))
    upper = torch.cat(uppers) if uppers else None
    return Annealed(torch.cat(lowers), upper, sum(accepted) / len(accepted))


@dataclass(frozen=True)
class Simulated:
    """Images of a model with the codes they were drawn with: z ~ p(z), x ~ p(x | z).

    Attributes:
        images: (N, C, H, W), in the model's range.
        codes: (N, D).
    """

    images: Tensor
    codes: Tensor


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
        made.append(likelihood.sample(raw(codes[i : i + 1], one), generator))
    return Simulated(torch.cat(made), codes)
