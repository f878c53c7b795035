"""Small GANs with encoders for the contracts: VAE-GANs of both forms with all that the critic may judge, and BiGANs."""

from __future__ import annotations

from typing import Any

from morphospace.zoo.registry import ModelSettings
from morphospace.zoo.settings_both import BiGANSettings, VAEGANSettings

SMALL: dict[str, Any] = {"latent_dim": 6, "widths": (8, 12), "critic_widths": (8, 12)}

BOTH: list[tuple[ModelSettings, str]] = [
    (VAEGANSettings(**SMALL), "vae-gan"),
    (
        VAEGANSettings(
            **SMALL,
            mixing="mix",
            lambda_=0.5,
            judged="reconstructions",
            critic_norm="batch",
            r1=0.0,
            signed=True,
            likelihood="gaussian",
        ),
        "vae-gan-mix",
    ),
    (
        VAEGANSettings(latent_dim=6, widths=(24,), tower="mlp", critic_widths=(24,), judged="samples", draws=2),
        "vae-gan-mlp",
    ),
    (
        VAEGANSettings(**SMALL, reconstruction_space="features", adversarial_unit="image", lambda_=1.0),
        "vae-gan-features",
    ),
    (VAEGANSettings(**SMALL, prior="mixture"), "vae-gan-mixture"),
    (
        VAEGANSettings(**SMALL, reconstruction_space="features", mixing="mix", judged="samples"),
        "vae-gan-features-mix",
    ),
    (BiGANSettings(latent_dim=6, widths=(8, 12), pair_width=16, critic_norm="batch", r1=0.0, penalty_every=1), "bigan"),
    (
        BiGANSettings(
            latent_dim=6,
            widths=(24,),
            tower="mlp",
            pair_width=16,
            critic_norm="none",
            init="default",
            r1=20.0,
            r2=20.0,
            penalty_every=2,
            lr=2e-3,
        ),
        "bigan-mlp",
    ),
]
