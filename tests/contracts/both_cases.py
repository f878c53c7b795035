"""Small VAE-GANs for the contracts: both forms, all that the critic may judge."""

from __future__ import annotations

from typing import Any

from morphospace.zoo.settings_both import VAEGANSettings

SMALL: dict[str, Any] = {"latent_dim": 6, "widths": (8, 12), "critic_widths": (8, 12)}

BOTH: list[tuple[VAEGANSettings, str]] = [
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
]
