"""Mixtures of Gaussians in the plane, and a GAN trained on one by the library's own engine.

Points are handed over as images of 1x1 pixel and two channels, in [-1, 1], drawn afresh for every batch: no picture of
a point, whose pixels would blur how far off it lies, and no file, which would round it to 8 bits. Losses, remedies,
optimizers and engine are those that train on images; both towers are fully connected, and the same for every GAN.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.models.conditioning import Conditioning
from morphospace.randomness import stream
from morphospace.studio.live.plane import Mixture, Points, grid, ring
from morphospace.training.engine import Engine
from morphospace.training.precision import keep_freed_blocks
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.gan import GAN
from morphospace.zoo.settings_gan import GANSettings

__all__ = ["MIXTURES", "Mixture", "Outcome", "judged", "play"]

SAMPLES = 2500  # as in the tables of VEEGAN and PacGAN
GOOD = 3.0  # standard deviations from the nearest mode
# Those tables count a mode from one good sample on, which noise spread over the whole square passes with ease.
SHARE = 0.1


# Sigma of the ring: a fiftieth of the radius (Metz et al. 2017 have a hundredth); of the grid: a twentieth of the
# spacing (Lin et al. 2018 have a fortieth).
MIXTURES = {"ring": ring(0.016), "grid": grid(0.02)}


@dataclass(frozen=True)
class Outcome:
    """What a trained generator draws.

    Attributes:
        modes: Modes that got a tenth of their fair share, in good samples.
        near: Modes that are the nearest one to a tenth of their fair share of samples, good or not: 1 is a collapse.
        good: Share of samples within three standard deviations of a mode.
        seconds: Training time.
        failed: What stopped training, empty if nothing did.
    """

    modes: int
    near: int
    good: float
    seconds: float
    failed: str = ""


def judged(points: Tensor, mixture: Mixture) -> tuple[int, int, float]:
    """Return the modes found, the modes that samples are near, and the share of good ones among points (N, 2)."""
    distance, nearest = torch.cdist(points.double(), mixture.centres.double()).min(1)
    good = distance <= GOOD * mixture.sigma
    least = SHARE * len(points) / len(mixture.centres)
    found, near = (
        int((mode.bincount(minlength=len(mixture.centres)) >= least).sum()) for mode in (nearest[good], nearest)
    )
    return found, near, float(good.double().mean())


def play(settings: GANSettings, name: str, seed: int, steps: int, batch_size: int) -> Outcome:
    """Train a GAN on a mixture for so many updates of its generator, and judge what it draws."""
    torch.set_num_threads(1)
    keep_freed_blocks()
    mixture = MIXTURES[name]
    names = tuple(str(i) for i in range(len(mixture.centres)))
    told = Conditioning("label", names) if getattr(settings, "condition", "") else None
    torch.manual_seed(stream(seed, "weights"))
    model = settings.build((1, 1, 2), None, told)
    assert isinstance(model, GAN)
    # A rate that falls to 0 lets samples settle on modes far narrower than a full-sized step.
    training = TrainingSettings(batch_size=batch_size, seed=seed, device="cpu", precision="fp32", schedule="cosine")
    images = steps * settings.turns * batch_size
    engine = Engine(model, Points(mixture, batch_size, seed), training, total_images=images)  # type: ignore[arg-type]
    model.networks.train()
    began, failed = time.perf_counter(), ""
    try:
        for _ in range(steps):
            engine.step()
            engine.sums.clear()
    except Exception as error:
        failed = str(error)
    seconds = time.perf_counter() - began
    noise = torch.randn(SAMPLES, model.latent_dim, generator=torch.Generator().manual_seed(stream(seed, "judged")))
    with torch.no_grad():
        points = model.eval().decode(noise, None if told is None else told.spread(SAMPLES)).flatten(1)  # type: ignore[attr-defined]
    return Outcome(*judged(points, mixture), seconds, failed)
