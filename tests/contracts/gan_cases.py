"""Small GANs for the contracts: every member, every remedy."""

from __future__ import annotations

from typing import Any

from morphospace.zoo.settings_gan import (
    ACGANSettings,
    CGANSettings,
    DCGANSettings,
    FastGANSettings,
    GANSettings,
    InfoGANSettings,
    LSGANSettings,
    R3GANSettings,
    SNGANSettings,
    WGANGPSettings,
    WGANSettings,
)

SMALL: dict[str, Any] = {"latent_dim": 6, "widths": (8, 12)}
QUICK: dict[str, Any] = {**SMALL, "lr": 2e-3}  # published rates are too slow for a hundred steps

GANS: list[tuple[GANSettings, str]] = [
    (DCGANSettings(**SMALL), "dcgan"),
    (DCGANSettings(**SMALL, share_fakes=True, generator_bias=True, stem="conv"), "dcgan-shared"),
    (DCGANSettings(**SMALL, replay=0.5, replay_images=12, feature_matching=1.0, share_fakes=True), "dcgan-replay"),
    (DCGANSettings(**SMALL, unrolled=2), "dcgan-unrolled"),
    (
        DCGANSettings(**SMALL, packing=2, augment=("colour", "translation", "cutout"), critic_norm="none", r1=0.1),
        "dcgan-packed",
    ),
    (WGANSettings(**QUICK, init="default", critic_norm="none", weight_clip=0.1, turns=2), "wgan"),
    (WGANGPSettings(**QUICK, turns=2, penalty_every=1), "wgan-gp"),
    (SNGANSettings(**QUICK, minibatch_discrimination=4), "sngan"),
    (CGANSettings(**SMALL), "cgan"),
    (CGANSettings(**SMALL, conditioning="embedding", condition="attributes:round,bright"), "cgan-embedding"),
    (CGANSettings(**SMALL, generator_conditioning="code"), "cgan-code"),
    (ACGANSettings(**SMALL), "acgan"),
    (
        ACGANSettings(**SMALL, condition="attributes:round,bright", critic_norm="none", spectral_norm=True),
        "acgan-attributes",
    ),
    (LSGANSettings(**SMALL), "lsgan"),
    (DCGANSettings(**SMALL, attention=2, excitation=True, critic_reconstruction=1.0), "dcgan-attention"),
    (FastGANSettings(**QUICK), "fast-gan"),
    (InfoGANSettings(**{**QUICK, "latent_dim": 9}, categories=3, variables=2, continuous=1), "info-gan"),
    (
        InfoGANSettings(
            **{**SMALL, "widths": (24,)}, categories=0, tower="mlp", share_fakes=True, feature_matching=1.0
        ),
        "info-gan-continuous",
    ),
    (R3GANSettings(**QUICK, tower="residual", penalty_every=1), "r3gan"),
    (R3GANSettings(**QUICK, tower="mlp", init="default", penalty_every=4, penalty_by_size=False), "r3gan-mlp"),
]
