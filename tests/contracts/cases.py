"""One small case for each zoo member; a member without one fails the suite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import Batches
from morphospace.data.pack import Split
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.randomness import stream
from morphospace.training.engine import Engine
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import (
    AAESettings,
    AESettings,
    AutoencoderKLSettings,
    BetaTCVAESettings,
    CVAESettings,
    DIPVAESettings,
    FactorVAESettings,
    InfoVAESettings,
    IWAESettings,
    LadderVAESettings,
    MaskVAESettings,
    ModelSettings,
    RAESettings,
    VAESettings,
    VQVAESettings,
    WAESettings,
)
from tests.conftest import draw_blobs
from tests.contracts.both_cases import BOTH
from tests.contracts.gan_cases import GANS

SHAPES = [(16, 16, 1), (28, 20, 3), (9, 13, 1)]


@dataclass(frozen=True)
class Case:
    """A small member and how it is named in test reports."""

    settings: ModelSettings
    label: str

    @property
    def member(self) -> str:
        return self.settings.name

    def fitting(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return a shape, or a larger one near it where the sides must be even: two widths halve them once."""
        even = self.member == "autoencoder-kl"
        return (shape[0] + even * (shape[0] % 2), shape[1] + even * (shape[1] % 2), shape[2])

    @property
    def conditioning(self) -> Conditioning | None:
        """What the packs of these tests tell a conditional model: one of three classes, or two attributes."""
        condition = getattr(self.settings, "condition", "")
        return Conditioning.of(condition, ("a", "b", "c"), ("round", "bright"))


CASES = [
    Case(AESettings(latent_dim=6, widths=(8,)), "ae"),
    Case(AESettings(latent_dim=6, widths=(24, 12), tower="mlp", likelihood="bernoulli"), "ae-mlp"),
    Case(VAESettings(latent_dim=6, widths=(8,), likelihood="gaussian"), "vae-calibrated"),
    Case(
        VAESettings(latent_dim=6, widths=(8, 12), likelihood="gaussian", variance="learned", signed=True), "vae-learned"
    ),
    Case(
        VAESettings(
            latent_dim=6,
            widths=(8,),
            likelihood="gaussian",
            variance="fixed",
            sigma=0.3,
            norm="none",
            activation="silu",
        ),
        "vae-fixed",
    ),
    Case(VAESettings(latent_dim=6, widths=(24,), tower="mlp", likelihood="bernoulli", beta=4.0), "vae-mlp"),
    Case(
        VAESettings(latent_dim=6, widths=(8,), likelihood="squared-error", reduction="mean", kl_reduction="mean"),
        "vae-mean",
    ),
    Case(
        VAESettings(latent_dim=6, widths=(24,), tower="mlp", draws=3, kl="sampled", likelihood="categorical"),
        "vae-draws",
    ),
    Case(
        VAESettings(
            latent_dim=6, widths=(8,), likelihood="discretised-logistic", capacity=3.0, capacity_weight=30.0, lr=1e-2
        ),
        "vae-capacity",
    ),
    Case(
        VAESettings(latent_dim=6, widths=(8,), likelihood="continuous-bernoulli", dequantise=True, free_bits=0.1),
        "vae-free-bits",
    ),
    Case(VAESettings(latent_dim=6, widths=(8,), prior="flow", kl="path", init="glorot"), "vae-flow"),
    Case(VAESettings(latent_dim=6, widths=(8,), norm="none", prior="vamp", prior_components=5, draws=2), "vae-vamp"),
    Case(VAESettings(latent_dim=6, widths=(24,), tower="mlp", prior="mixture", prior_components=5), "vae-mixture"),
    Case(IWAESettings(latent_dim=6, widths=(24,), tower="mlp", samples=4, activation="tanh"), "iwae"),
    Case(IWAESettings(latent_dim=6, widths=(8,), gradient="dreg", prior="flow", prior_layers=2), "iwae-flow"),
    Case(CVAESettings(latent_dim=6, widths=(8,), prior="mixture", prior_components=5, kl="sampled"), "cvae-mixture"),
    Case(MaskVAESettings(latent_dim=6, widths=(8,), prior="flow"), "mask-vae-flow"),
    Case(
        IWAESettings(
            latent_dim=6, widths=(8,), samples=3, gradient="dreg", likelihood="gaussian", signed=True, dequantise=True
        ),
        "iwae-dreg",
    ),
    Case(CVAESettings(latent_dim=6, widths=(8,)), "cvae-conv"),
    Case(CVAESettings(latent_dim=6, widths=(24,), tower="mlp", condition="attributes:bright", draws=2), "cvae-mlp"),
    Case(FactorVAESettings(latent_dim=6, widths=(8,), critic_widths=(32, 32), critic_lr=3e-3), "factor-vae"),
    Case(BetaTCVAESettings(latent_dim=6, widths=(8,)), "beta-tcvae"),
    Case(BetaTCVAESettings(latent_dim=6, widths=(24,), tower="mlp", sampling="stratified"), "beta-tcvae-stratified"),
    Case(MaskVAESettings(latent_dim=6, widths=(8,)), "mask-vae"),
    Case(
        MaskVAESettings(latent_dim=6, widths=(8,), likelihood="gaussian", signed=True, outside=1.0),
        "mask-vae-signed",
    ),
    Case(WAESettings(latent_dim=6, widths=(8,), likelihood="bernoulli", lambda_=20.0), "wae"),
    Case(InfoVAESettings(latent_dim=6, widths=(24,), tower="mlp", lambda_=20.0, kernel="rbf"), "info-vae"),
    Case(RAESettings(latent_dim=6, widths=(8,)), "rae"),
    Case(RAESettings(latent_dim=6, widths=(8, 12), regulariser="spectral"), "rae-spectral"),
    Case(AAESettings(latent_dim=6, widths=(24,), tower="mlp", critic_widths=(24,), encoder_lr=1e-3), "aae"),
    Case(DIPVAESettings(latent_dim=6, widths=(24,), tower="mlp", off_diagonal=1.0), "dip-vae"),
    Case(LadderVAESettings(latent_dim=6, widths=(12, 16), levels=3, free_bits=0.1), "ladder"),
    Case(LadderVAESettings(latent_dim=6, widths=(24,), tower="mlp", levels=2, skips=False, samples=3), "ladder-mlp"),
    Case(
        VQVAESettings(
            latent_dim=2, widths=(8,), blocks=1, entries=16, prior_width=16, prior_layers=2, prior_heads=2, lr=1e-2
        ),
        "vq-vae",
    ),
    Case(
        AutoencoderKLSettings(
            latent_dim=2, widths=(4, 8), groups=2, critic_widths=(8, 8), adversarial_begins=0, lr=2e-3
        ),
        "autoencoder-kl",
    ),
    Case(
        AutoencoderKLSettings(
            latent_dim=2, widths=(8,), groups=4, attention=False, reconstruction="squared", adversarial=0, perceptual=0
        ),
        "autoencoder-kl-plain",
    ),
    *(Case(settings, label) for settings, label in [*GANS, *BOTH]),
]


def build(case: Case, shape: tuple[int, int, int] = (16, 16, 1), seed: int = 0) -> Model:
    """Build a case's model with weights by seed."""
    torch.manual_seed(stream(seed, "weights"))
    model = case.settings.build(shape, None, case.conditioning)
    model.networks.to(memory_format=torch.channels_last)
    return model


def drawn_split(images: int, shape: tuple[int, int, int]) -> Split:
    """Draw images with everything that a member may need to know of them."""
    drawn, each = draw_blobs(images, shape), np.arange(images)
    attributes = np.stack([each % 2, each // 2 % 2], 1).astype(np.uint8)
    return Split(images=drawn, labels=each % 3, attributes=attributes, masks=(drawn[..., :1] > 100).astype(np.uint8))


def conditions_for(model: Model, count: int) -> Tensor | None:
    """Return a condition for each of `count` images; None where the model takes none."""
    return None if model.conditioning is None else model.conditioning.spread(count)


def engine_for(
    case: Case,
    *,
    shape: tuple[int, int, int] = (16, 16, 1),
    images: int = 64,
    batch_size: int = 8,
    precision: str = "fp32",
    dtype: torch.dtype = torch.float32,
    rank: int = 0,
    world: int = 1,
    device: str | torch.device = "cpu",
    **settings: object,
) -> Engine:
    """Build an engine on drawn images."""
    model = build(case, shape)
    model.networks.to(device, dtype)
    model.memory.to(device)  # as `morphospace.train` does
    split = drawn_split(images, shape)
    place = {"rank": rank, "world": world, "device": device}
    data = Batches(split, batch_size=batch_size, seed=0, signed=model.signed, **place)
    training = TrainingSettings(batch_size=batch_size, **settings)
    half = training.ema_halflife_images or 0
    return Engine(model, data, training, total_images=10**6, precision=precision, ema_halflife_images=half)
