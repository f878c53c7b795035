"""Variational bounds and their parts in nats per image, as pure functions of posteriors, codes and densities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.priors import Normal, Prior, normal_log_prob

N = TypeVar("N", Tensor, float)
NORMAL = Normal()


def sampled_kl(posterior: DiagonalGaussian, z: Tensor, prior: Prior = NORMAL) -> Tensor:
    """Return log q(z | x) - log p(z), (B,), whose mean over samples z ~ q is KL(q || p)."""
    return posterior.log_prob(z) - prior.log_prob(z)


def half_closed_kl(posterior: DiagonalGaussian, z: Tensor, prior: Prior) -> Tensor:
    """Return -H(q(z | x)) - log p(z), (B,), whose mean over samples z ~ q is KL(q || p): the entropy is exact."""
    return -posterior.entropy() - prior.log_prob(z)


def with_free_bits(kl_per_unit: Tensor, free: float) -> Tensor:
    """Return sum_d max(free, mean_B KL_d) of (B, D), a scalar: a KL below `free` nats does not lower a unit's loss.

    Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", appendix C.8.
    """
    return kl_per_unit.mean(0).clamp(min=free).sum()


def capacity_gap(kl: Tensor, capacity: float | Tensor) -> Tensor:
    """Return |mean KL - C|, a scalar (Burgess et al. 2018, "Understanding disentangling in beta-VAE").

    >>> capacity_gap(torch.tensor([1.0, 4.0]), 3.0)
    tensor(0.5000)
    """
    return (kl.mean() - capacity).abs()


def importance_bound(log_weights: Tensor) -> Tensor:
    """Return log 1/K sum_k w_k, (B,), from log weights (B, K): a bound that tightens with K (Burda et al. 2016)."""
    return torch.logsumexp(log_weights, 1) - math.log(log_weights.shape[1])


def doubly_reparameterised(z: Tensor, log_weights: Tensor) -> None:
    """Give the encoder the doubly reparameterised gradient of `importance_bound` (Tucker et al. 2019).

    sum_k v_k^2 (d log w_k / dz_k) (dz_k / dphi), v being the normalised weights. The gradient of z is weighted by v_k
    already, so a hook weights it once more. The decoder's own gradient does not pass through z and does not change.
    The log weights must contain log q(z | x) with detached parameters, or the score term would remain.

    Args:
        z: Codes (B * K, D), the K of one image in a row, sampled from the posterior with its gradient.
        log_weights: (B, K), computed from `z`.
    """
    if z.requires_grad:
        normalised = log_weights.detach().softmax(1).view(-1, 1)
        z.register_hook(lambda gradient: gradient * normalised.to(gradient.dtype))


@dataclass(frozen=True, slots=True)
class KLParts:
    """log q(z | x) - log p(z) in three parts, each (B,), that sum to it whatever the estimate of q(z).

    Attributes:
        information: log q(z | x) - log q(z), the information of codes about images.
        total_correlation: log q(z) - sum_d log q(z_d), the dependence between units.
        per_unit: sum_d log q(z_d) - log p(z_d), the distance of each unit from the prior.
    """

    information: Tensor
    total_correlation: Tensor
    per_unit: Tensor


def stratified_log_weights(batch: int, dataset: int, like: Tensor) -> Tensor:
    """Return log weights (B, B) of the pairs q(z_i | x_j) of a batch, with which their sum q(z_i) is unbiased.

    The weights are 1 / N for i's own image, (N - M) / (N M) for one other and 1 / M for the rest, with M = B - 1: each
    row sums to one (Chen et al. 2018, appendix C).
    """
    others = batch - 1
    rows = torch.arange(batch, device=like.device)
    after = (rows - rows[:, None]) % batch  # 0 for i's own image, 1 for the next one
    # Not written into a tensor by index: on a GPU the number would be copied there, which no CUDA graph can hold.
    rest = torch.full((batch, batch), -math.log(others), device=like.device, dtype=like.dtype)
    weights = torch.where(after == 0, -math.log(dataset), rest)
    return torch.where(after == 1, math.log((dataset - others) / (dataset * others)), weights)


def decomposed_kl(posterior: DiagonalGaussian, z: Tensor, dataset: int, *, stratified: bool = False) -> KLParts:
    """Split the KL of a batch by an estimate of the aggregate posterior q(z) from the batch itself.

    Chen et al. 2018, "Isolating sources of disentanglement in VAEs". With weighted sampling the size of the data set
    shifts information and total correlation by constants: it changes the reported values and no gradient.

    Args:
        posterior: q(z | x) of the batch, (B, D).
        z: One sample of each, (B, D).
        dataset: Number N of training images.
        stratified: Weight the pairs so that q(z) is unbiased.
    """
    mean, log_variance = posterior.mean, posterior.log_variance
    # log q(z_i | x_j) of every unit, (B, B, D), in as few passes over memory as possible.
    distance = (z.unsqueeze(1) - mean).square() * (-log_variance).exp()
    pairs = -0.5 * (distance + (log_variance + math.log(2 * math.pi)))
    batch, units = z.shape
    own, joint = posterior.log_prob(z), pairs.sum(2)
    if stratified and 1 < batch <= dataset:
        weights = stratified_log_weights(batch, dataset, z)
        joint, pairs, constant = joint + weights, pairs + weights.unsqueeze(2), 0.0
    else:
        constant = -math.log(max(dataset, 1) * batch)
    joint = torch.logsumexp(joint, 1) + constant
    marginal = torch.logsumexp(pairs, 1).sum(1) + units * constant
    return KLParts(own - joint, joint - marginal, marginal - normal_log_prob(z))


def permuted(z: Tensor, uniform: Tensor) -> Tensor:
    """Shuffle every unit of codes (B, D) over the batch on its own: samples of prod_d q(z_d) (Kim & Mnih 2018).

    Args:
        z: The codes.
        uniform: Independent uniform numbers (B, D), whose order is the shuffle.
    """
    return z.gather(0, uniform.argsort(0))


def critic_of_codes(joint: Tensor, shuffled: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log D(z) / 2 of codes and -log(1 - D(z)) / 2 of shuffled ones, from logits (B,).

    At its optimum the logit is log q(z) / prod_d q(z_d), whose mean over q(z) is the total correlation.
    """
    return 0.5 * functional.softplus(-joint), 0.5 * functional.softplus(shuffled)


def dequantised(images: Tensor, uniform: Tensor, *, signed: bool = False) -> Tensor:
    """Spread 8-bit values over their bins: (level + u) / 256 in [0, 1), scaled to [-1, 1) where signed.

    A density of these bounds the levels' log probability from below: log P >= E log p + D log(width / 256)
    (Theis et al. 2016, "A note on the evaluation of generative models").

    Args:
        images: Values k / 255, or 2 k / 255 - 1 where signed.
        uniform: Numbers in [0, 1) of the same shape.
        signed: Whether values are in [-1, 1].
    """
    if signed:
        return images * (255 / 256) + (uniform * (2 / 256) - 1 / 256)
    return images * (255 / 256) + uniform * (1 / 256)


def bits_per_dim(nats: N, values: int, *, levels: int = 1, width: float = 1.0) -> N:
    """Convert -log p of an image in nats to bits per value.

    Args:
        nats: -log p: of a mass over levels, or of a density of dequantised values.
        values: Number of values in the image.
        levels: For a density, the number of bins in its range (256); 1 for a mass.
        width: For a density, the width of the range: 1 for [0, 1], 2 for [-1, 1].

    >>> bits_per_dim(784 * math.log(256), 784), bits_per_dim(0.0, 784, levels=256)
    (8.0, 8.0)
    """
    return nats / (values * math.log(2)) + (math.log2(levels / width) if levels > 1 else 0.0)
