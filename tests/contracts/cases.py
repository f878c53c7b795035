"""One small case for each zoo member; a member without one fails the suite."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from morphospace.data.batches import Batches
from morphospace.data.pack import Split
from morphospace.models.contract import Model
from morphospace.randomness import stream
from morphospace.training.engine import Engine
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import AESettings, DCGANSettings, ModelSettings, VAESettings
from tests.conftest import draw_blobs

SHAPES = [(16, 16, 1), (28, 20, 3), (9, 13, 1)]


@dataclass(frozen=True)
class Case:
    """A small member and how it is named in test reports."""

    settings: ModelSettings
    label: str

    @property
    def member(self) -> str:
        return self.settings.name


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
    Case(DCGANSettings(latent_dim=6, widths=(8, 12)), "dcgan"),
    Case(
        DCGANSettings(latent_dim=6, widths=(8, 12), share_fakes=True, generator_bias=True, stem="conv"), "dcgan-shared"
    ),
]


def build(case: Case, shape: tuple[int, int, int] = (16, 16, 1), seed: int = 0) -> Model:
    """Build a case's model with weights by seed."""
    torch.manual_seed(stream(seed, "weights"))
    model = case.settings.build(shape)
    model.networks.to(memory_format=torch.channels_last)
    return model


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
    **settings: object,
) -> Engine:
    """Build an engine on drawn images."""
    model = build(case, shape)
    model.networks.to(dtype)
    split = Split(images=draw_blobs(images, shape))
    data = Batches(split, batch_size=batch_size, seed=0, signed=model.signed, rank=rank, world=world)
    training = TrainingSettings(batch_size=batch_size, **settings)
    half = training.ema_halflife_images or 0
    return Engine(model, data, training, total_images=10**6, precision=precision, ema_halflife_images=half)
