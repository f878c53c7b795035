"""Bounds on log p(x): the ELBO, and tighter ones by importance sampling.

They bound a probability only where the likelihood is one: see `density_of`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from morphospace.errors import require
from morphospace.models.distributions import DiagonalGaussian, Point, Posterior, Quantised, TopDownGaussian, full
from morphospace.models.likelihoods import Bernoulli, Likelihood
from morphospace.models.priors import Normal, Prior, normal_log_prob
from morphospace.randomness import stream

# Numbers decoded at once, of which a network's inner layers hold several times as many. On a CPU those should stay in
# its cache: of 28x28 pixels, 334 codes at once are 1.2 (`vae`) to 1.6 times (`ladder-vae`) as fast as 1,337.
VALUES_AT_ONCE = 1 << 20
ON_CPU = 1 << 18
MOST_DRAWS = 1_000_000


@runtime_checkable
class Explains(Protocol):
    """A model of p(x | z) with a proposal q(z | x) and a prior p(z)."""

    likelihood: Likelihood
    prior: Prior | None

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor: ...

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Posterior: ...


@dataclass(frozen=True)
class Density:
    """What quantity a number in nats measures.

    Attributes:
        words: In words.
        proper: Whether it is a probability or density of the data at all.
        bits: Whether bits per dimension of it mean something.
        dequantised: Whether it is of values spread over their bins.
    """

    words: str
    proper: bool
    bits: bool
    dequantised: bool = False


def density_of(likelihood: Likelihood, *, binary: bool = False, dequantised: bool = False) -> Density:
    """Return what quantity a likelihood's nats measure.

    Args:
        likelihood: The model's.
        binary: Whether the pixels are 0 or 1.
        dequantised: Whether 8-bit values are spread over their bins.
    """
    if not likelihood.is_density:
        return Density("squared error, no density", False, False)
    if likelihood.over_levels:
        return Density("mass of 8-bit levels", True, True)
    if type(likelihood) is Bernoulli:
        if binary:
            return Density("mass of binary pixels", True, True)
        return Density("cross-entropy of grey pixels, no density", False, False)
    if dequantised:
        return Density("density of dequantised pixels, which bounds the mass of the levels", True, True, True)
    return Density("density at the 8-bit levels, compares with the same likelihood only", True, False)


class RunningLogSumExp:
    """log sum_k exp(l_k) of several series at once, in float64, of parts that come one after the other.

    >>> total = RunningLogSumExp(1)
    >>> for part in ([[-1000.0, -1001.0]], [[-999.0]]):
    ...     total.add(torch.tensor(part))
    >>> round(float(total.value() - torch.tensor([-1000.0, -1001.0, -999.0]).double().logsumexp(0)), 12)
    0.0

    Args:
        rows: Number of series.
        device: Where they are.
    """

    def __init__(self, rows: int, device: torch.device | str = "cpu") -> None:
        self.highest = torch.full((rows,), -math.inf, dtype=torch.float64, device=device)
        self.sum = torch.zeros(rows, dtype=torch.float64, device=device)

    def add(self, values: Tensor) -> None:
        """Add values (rows, n)."""
        values = values.double()
        highest = torch.maximum(self.highest, values.amax(1))
        # Where all is minus infinity still, inf - inf would be no number.
        safe = highest.masked_fill(highest.isneginf(), 0.0)
        self.sum = self.sum * (self.highest - safe).exp() + (values - safe[:, None]).exp().sum(1)
        self.highest = highest

    def value(self) -> Tensor:
        """Return log sum exp of all that was added, (rows,)."""
        return self.highest.masked_fill(self.highest.isneginf(), 0.0) + self.sum.log()


@dataclass(frozen=True)
class EvidenceBound:
    """The ELBO of images and its terms, in nats.

    Attributes:
        log_likelihood: E_q log p(x | z), (N,), float64.
        kl: KL(q(z | x) || p(z)), (N,), float64.
        draws: Codes drawn for each image.
    """

    log_likelihood: Tensor
    kl: Tensor
    draws: int

    @property
    def values(self) -> Tensor:
        """The ELBO of every image, (N,)."""
        return self.log_likelihood - self.kl


@dataclass(frozen=True)
class ImportanceBound:
    """log 1/k sum_k p(x | z_k) p(z_k) / q(z_k | x) of images, in nats.

    Attributes:
        values: The bound, (N,), float64.
        elbo: Mean of the log weights: the ELBO from the same draws, (N,).
        effective_samples: (sum w)^2 / sum w^2, from 1 to k, (N,): near 1 the bound depends on a single draw.
        k: Draws of each image.
    """

    values: Tensor
    elbo: Tensor
    effective_samples: Tensor
    k: int


def log_likelihood(likelihood: Likelihood, raw: Tensor, images: Tensor) -> Tensor:
    """Return log p(x | z) (B, n) of images (B, C, H, W) under raw outputs (B * n, ...), those of one image in a row."""
    count = len(images)
    draws = len(raw) // count
    if type(likelihood) is Bernoulli:
        # x log p + (1 - x) log(1 - p) = x l - softplus(l): one product and one pass in place of four.
        logits = full(raw).reshape(count, draws, -1)
        product = logits @ images.to(logits.dtype).reshape(count, -1, 1)
        return product.squeeze(2) - functional.softplus(logits).sum(2)
    # One image is seen n times without a copy.
    each = images.expand(draws, *images.shape[1:]) if count == 1 else images.repeat_interleave(draws, 0)
    return likelihood.log_prob(raw, each).view(count, draws)


def _noise(rows: range, draws: int, dim: int, seed: int, what: str) -> Tensor:
    """Draw standard normal noise (B, draws, D), each image's from a generator of its own."""
    generator = torch.Generator()
    made = [torch.randn(draws, dim, generator=generator.manual_seed(stream(seed, what, row))) for row in rows]
    return torch.stack(made)


@dataclass(frozen=True)
class _Pass:
    """What comes of one call of the decoder: log p(x | z), log p(z) and log q(z | x), (B, n) each.

    `own` are the Gaussians that the codes are from, of which there are B n: of a posterior level by level, each level's
    given the codes above it. The mean of their KL, and of their entropy, over codes is that of q.
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_posterior: Tensor
    own: DiagonalGaussian


def _posterior(
    model: Explains, images: Tensor, condition: Tensor | None
) -> DiagonalGaussian | TopDownGaussian | Quantised:
    posterior = model.encode(images, condition)
    why = "gives a code without uncertainty, so there is no bound; take a VAE"
    require(not isinstance(posterior, Point), "model", type(model).__name__, why)
    assert not isinstance(posterior, Point)
    return posterior


def _certain(model: Explains, block: _Block, posterior: Quantised) -> tuple[Tensor, Tensor]:
    """Return log p(x | z) and log p(z) (B,) of the one code z of each image; as a bound, log p(x) >= log p(x, z)."""
    raw = model.raw(posterior.mean.to(block.images.dtype), block.condition)
    assert model.prior is not None
    likely = log_likelihood(model.likelihood, raw, block.images).squeeze(1)
    return likely.double().cpu(), model.prior.log_prob(posterior.mean).double().cpu()


def _passed(model: Explains, block: _Block, posterior: DiagonalGaussian | TopDownGaussian, noise: Tensor) -> _Pass:
    """Decode the codes that noise (B, n, D) makes of posteriors."""
    count, draws, dim = noise.shape
    noise = full(noise.to(block.images))
    z, own = posterior.repeated(draws).drawn(noise.view(count * draws, dim))
    condition = None if block.condition is None else block.condition.repeat_interleave(draws, 0)
    raw = model.raw(z.to(block.images.dtype), condition)
    assert model.prior is not None
    # z = m + s noise, level by level: the density of the noise over the determinant, which is the product of all s.
    log_posterior = normal_log_prob(noise) - 0.5 * own.log_variance.sum(1).view(count, draws)
    log_prior = model.prior.log_prob(z).view(count, draws)
    return _Pass(log_likelihood(model.likelihood, raw, block.images), log_prior, log_posterior, own)


@dataclass(frozen=True)
class _Block:
    """Some images in a row: their numbers, pixels and conditions, and how many codes of each to decode at once."""

    rows: range
    images: Tensor
    condition: Tensor | None
    at_once: int


def _blocks(images: Tensor, condition: Tensor | None, draws: int, start: int, chunk: int | None) -> Iterator[_Block]:
    """Split images so that `chunk` codes at most are decoded at once, be they of one image or of several."""
    require(len(images) > 0, "images", len(images), "must be at least one")
    most = ON_CPU if images.device.type == "cpu" else VALUES_AT_ONCE
    at_once = chunk or max(16, most // images[0].numel())
    together = max(1, at_once // draws)
    for first in range(0, len(images), together):
        part = images[first : first + together]
        each = None if condition is None else condition[first : first + together]
        rows = range(start + first, start + first + len(part))
        yield _Block(rows, part, each, max(1, at_once // len(part)))


@torch.no_grad()
def evidence_bound(
    model: Explains,
    images: Tensor,
    draws: int = 16,
    *,
    condition: Tensor | None = None,
    seed: int = 0,
    noise: str = "evidence",
    start: int = 0,
    chunk: int | None = None,
) -> EvidenceBound:
    """Return E_q log p(x | z) - KL(q(z | x) || p(z)), the mean over draws.

    The KL to N(0, I) is in closed form, and of the KL to a learned prior the entropy; of a posterior level by level,
    each level's is, given the sampled codes above it.

    Args:
        model: Encoder, decoder and likelihood.
        images: (N, C, H, W) as the likelihood has them: binarised or dequantised before.
        draws: Codes of each image.
        condition: (N, K), where the model is conditional.
        seed: Of the codes; image i's depend on (seed, noise, start + i) only.
        noise: Name of the random stream.
        start: Number of the first image.
        chunk: Codes decoded at once.

    Reference: Kingma & Welling 2014.
    """
    require(1 <= draws <= MOST_DRAWS, "draws", draws, f"must be from 1 to {MOST_DRAWS}")
    log_likelihoods: list[Tensor] = []
    kls: list[Tensor] = []

    for block in _blocks(images, condition, draws, start, chunk):
        posterior = _posterior(model, block.images, block.condition)
        if isinstance(posterior, Quantised):
            certain, log_mass = _certain(model, block, posterior)
            log_likelihoods.append(certain)
            kls.append(-log_mass)
            continue
        normal = _noise(block.rows, draws, posterior.dim, seed, noise)
        likely, expected = (torch.zeros(len(normal), dtype=torch.float64) for _ in range(2))
        for some in normal.split(block.at_once, 1):
            made = _passed(model, block, posterior, some)
            likely += made.log_likelihood.double().sum(1).cpu()
            if isinstance(model.prior, Normal):
                kl = made.own.kl_per_unit().double().sum(1)
            else:
                kl = -made.own.entropy().double() - made.log_prior.double().flatten()
            expected += kl.view(len(normal), -1).sum(1).cpu()
        log_likelihoods.append(likely / draws)
        kls.append(expected / draws)
    return EvidenceBound(torch.cat(log_likelihoods), torch.cat(kls), draws)


@torch.no_grad()
def importance_bound(
    model: Explains,
    images: Tensor,
    k: int = 5000,
    *,
    condition: Tensor | None = None,
    seed: int = 0,
    noise: str = "importance",
    start: int = 0,
    chunk: int | None = None,
) -> ImportanceBound:
    """Return L_k = log 1/k sum_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x): at most log p(x), and nearer with k.

    The sum runs in float64 over chunks of draws, so that memory is flat in k and in the number of images.

    Args:
        model: Encoder, decoder and likelihood.
        images: (N, C, H, W) as the likelihood has them: binarised or dequantised before.
        k: Draws of each image.
        condition: (N, K), where the model is conditional.
        seed: Of the codes; image i's depend on (seed, noise, start + i, k) only, whatever the chunk.
        noise: Name of the random stream.
        start: Number of the first image.
        chunk: Codes decoded at once; chosen by the size of the images when None.

    Reference: Burda, Grosse & Salakhutdinov 2016, "Importance weighted autoencoders".
    """
    require(1 <= k <= MOST_DRAWS, "k", k, f"must be from 1 to {MOST_DRAWS}")
    bounds: list[Tensor] = []
    elbos: list[Tensor] = []
    effective: list[Tensor] = []

    for block in _blocks(images, condition, k, start, chunk):
        posterior = _posterior(model, block.images, block.condition)
        if isinstance(posterior, Quantised):  # all k weights are the same
            certain, log_mass = _certain(model, block, posterior)
            each = certain + log_mass
            bounds.append(each)
            elbos.append(each)
            effective.append(torch.full_like(each, float(k)))
            continue
        normal = _noise(block.rows, k, posterior.dim, seed, noise)
        total, squares = RunningLogSumExp(len(normal)), RunningLogSumExp(len(normal))
        sums = torch.zeros(len(normal), dtype=torch.float64)
        for some in normal.split(block.at_once, 1):
            made = _passed(model, block, posterior, some)
            log_weights = made.log_likelihood.double().cpu() + (made.log_prior - made.log_posterior).double().cpu()
            total.add(log_weights)
            squares.add(2 * log_weights)
            sums += log_weights.sum(1)
        bounds.append(total.value() - math.log(k))
        elbos.append(sums / k)
        effective.append((2 * total.value() - squares.value()).exp())
    return ImportanceBound(torch.cat(bounds), torch.cat(elbos), torch.cat(effective), k)
