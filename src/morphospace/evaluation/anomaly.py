"""Anomaly scores: one number an image, higher for stranger, and how well scores separate strange images."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from morphospace.errors import SettingError, require
from morphospace.evaluation.likelihood import Explains, density_of, evidence_bound, importance_bound
from morphospace.latent.components import Moments
from morphospace.latent.project import mean_squared
from morphospace.models.contract import Decodes, Encodes, Model, Quantises, Scores
from morphospace.models.distributions import full
from morphospace.randomness import stream

CODES_AT_ONCE = 1024


def bounded(model: Model, by: str) -> Explains:
    """Return the model as one that bounds log p(x).

    Raises:
        SettingError: If it has no posterior or no density, or if its bound is of more than the image.
    """
    name = model.settings.name
    ways = "reconstruction, latent or critic" if isinstance(model, Scores) else "reconstruction or latent"
    rule, way_out = f"{name} has no bound on log p(x)", f"score it by {ways}"
    require(isinstance(model, Explains) and model.prior is not None and not model.needs, "by", by, rule, way_out)
    # An autoencoder that was given a prior still encodes to points; a quantised code is one of finitely many.
    bounds = getattr(model, "code_outputs", 2) == 2 or isinstance(model, Quantises)
    require(bounds, "by", by, rule, way_out)
    return model  # type: ignore[return-value]


def density_words(model: Model, binary: bool) -> str:
    """Return the unit of a model's bound: nats, or a quantity in nats that is no likelihood."""
    likelihood = bounded(model, "elbo").likelihood
    if density_of(likelihood, binary=binary).proper:
        return "nats"
    cross_entropy = "nats of a cross-entropy on grey pixels, which is no density"
    return cross_entropy if likelihood.is_density else "nats up to a constant"


def negative_bounds(
    model: Model,
    images: Tensor,
    condition: Tensor | None = None,
    *,
    draws: int = 8,
    importance: bool = False,
    seed: int = 0,
    start: int = 0,
) -> Tensor:
    """Return minus a bound on log p(x) of images (B, C, H, W) in the model's range, in nats, (B,), float64.

    The bound is the ELBO, or with `importance` the tighter one by importance sampling (`likelihood.py`). beta, free
    bits and other weights of the training loss do not enter: they are no part of a likelihood.

    Args:
        model: A VAE.
        images: The images.
        condition: (B, K), where the model is conditional.
        draws: Codes drawn from q(z | x) for each image.
        importance: Which bound.
        seed: Of the draws, which depend on (seed, start + i) only.
        start: Number of the first image.
    """
    able = bounded(model, "iwae" if importance else "elbo")
    bound = importance_bound if importance else evidence_bound
    own, at_once = stream(seed, "score"), CODES_AT_ONCE
    return -bound(able, images, draws, condition=condition, seed=own, noise="sample", start=start, chunk=at_once).values


@torch.no_grad()
def reconstruction_errors(model: Model, encoder: Encodes, images: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return the mean squared error a pixel between images and what the means of their codes decode to, (B,).

    Both in [0, 1], whatever the model's own range.
    """
    name = model.settings.name
    if not isinstance(model, Decodes):
        raise SettingError("by = 'reconstruction'", rule=f"{name} does not decode", way_out="score it by critic")
    z = encoder.encode(images, condition).mean
    return mean_squared(model.decode(z.to(model.dtype), condition), images, model.signed).double().cpu()


@torch.no_grad()
def critic_scores(model: Model, images: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return minus the critic's judgement of images, (B,): it rises as they look less real.

    Raises:
        SettingError: If there is no critic of single images.
    """
    if not isinstance(model, Scores):
        name = model.settings.name
        rule = f"{name} has no critic"
        raise SettingError("by = 'critic'", rule=rule, way_out="score it by elbo, iwae, reconstruction or latent")
    return -full(model.score(images, condition)).double().cpu()


def mahalanobis(codes: Tensor, fitted: Moments) -> Tensor:
    """Return the Mahalanobis distances of codes (B, D), sqrt((z - m)^T C^-1 (z - m)), (B,), in float64.

    m and C are the mean and covariance of the N fitted codes, C divided by N. A ridge of 1e-6 of the mean variance
    keeps units that do not vary from being divided by nothing.

    Raises:
        SettingError: If fewer than two codes were fitted.
    """
    require(fitted.count > 1, "codes", fitted.count, "at least 2 are needed for a covariance")
    covariance = fitted.scatter / fitted.count
    ridge = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12)
    factor = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance), dtype=torch.float64))
    centred = (codes.detach().cpu().double() - fitted.mean).T
    return torch.linalg.solve_triangular(factor, centred, upper=False).square().sum(0).sqrt()


def complexity(images: np.ndarray) -> np.ndarray:
    """Return the length of each uint8 image (B, H, W, C) as a PNG file, in nats, (B,).

    Likelihood favours simple images, whatever was learned from: a lossless code's length says how simple one is.
    Minus log p(x) minus this is a log ratio of the model to a general-purpose one (Serra et al. 2020, "Input
    complexity and out-of-distribution detection with likelihood-based generative models").
    """
    nats = np.empty(len(images))
    for i, image in enumerate(images):
        held = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(held, format="PNG", optimize=True)
        nats[i] = held.tell() * 8 * math.log(2)
    return nats


@dataclass(frozen=True)
class Auroc:
    """The area under the receiver operating characteristic: how often a strange image scores above a usual one.

    Attributes:
        value: 1 for always, 0.5 for a guess, below that the wrong way round.
        low: Lower end of the 95 % bootstrap interval.
        high: Its upper end.
        strange: How many strange images.
        usual: How many usual ones.
    """

    value: float
    low: float
    high: float
    strange: int
    usual: int


def auroc(usual: np.ndarray, strange: np.ndarray, *, rounds: int = 500, seed: int = 0) -> Auroc:
    """Return P(s > u) + P(s = u) / 2 for scores of strange and usual images, with a bootstrap interval.

    Each kind is resampled with replacement by itself, so that their numbers stay.

    Args:
        usual: Scores (N,).
        strange: Scores (M,).
        rounds: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        SettingError: If one of them is empty, or if a score is not finite.
    """
    require(len(strange) > 0, "strange", len(strange), "no image is strange", "name labels that the images have")
    require(len(usual) > 0, "strange", len(strange), "every image is strange", "name fewer labels")
    finite = bool(np.isfinite(usual).all() and np.isfinite(strange).all())
    require(finite, "scores", "nan", "a score is not finite", "take another --by")
    rng = np.random.default_rng(stream(seed, "auroc"))
    value, drawn = _above(usual, strange), np.empty(rounds)
    for i in range(rounds):
        drawn[i] = _above(
            usual[rng.integers(len(usual), size=len(usual))], strange[rng.integers(len(strange), size=len(strange))]
        )
    low, high = np.quantile(drawn, (0.025, 0.975)) if rounds else (value, value)
    return Auroc(value, float(low), float(high), len(strange), len(usual))


def _above(usual: np.ndarray, strange: np.ndarray) -> float:
    """Return how often a strange score is above a usual one, ties counting half."""
    ordered = np.sort(usual)
    below = np.searchsorted(ordered, strange, "left") + np.searchsorted(ordered, strange, "right")
    return float(below.mean() / 2 / len(usual))
