"""What a user may say about each model, all in one place; free of torch, so that `--help` stays quick."""

# ruff: noqa: I001

from __future__ import annotations

from morphospace.zoo.registry import ZOO, ModelSettings, settings_class
from morphospace.zoo.settings_vae import (
    AESettings,
    BetaTCVAESettings,
    CVAESettings,
    FactorVAESettings,
    IWAESettings,
    MaskVAESettings,
    VAESettings,
)
from morphospace.zoo.settings_gan import (
    CGANSettings,
    DCGANSettings,
    GANSettings,
    LSGANSettings,
    R3GANSettings,
    SNGANSettings,
    WGANGPSettings,
    WGANSettings,
)
from morphospace.zoo.settings_both import VAEGANSettings

__all__ = [
    "ZOO",
    "ModelSettings",
    "AESettings",
    "VAESettings",
    "IWAESettings",
    "CVAESettings",
    "FactorVAESettings",
    "BetaTCVAESettings",
    "MaskVAESettings",
    "GANSettings",
    "DCGANSettings",
    "WGANSettings",
    "WGANGPSettings",
    "SNGANSettings",
    "CGANSettings",
    "LSGANSettings",
    "R3GANSettings",
    "VAEGANSettings",
    "settings_class",
]
