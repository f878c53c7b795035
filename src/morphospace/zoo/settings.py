"""The settings of every model, in one place; free of torch, so that `--help` stays quick."""

# ruff: noqa: F401, I001

from __future__ import annotations

from morphospace.zoo.registry import ZOO, ModelSettings, settings_class
from morphospace.zoo.settings_adopted import AdoptedSettings
from morphospace.zoo.settings_vae import (
    AESettings,
    BetaTCVAESettings,
    CVAESettings,
    FactorVAESettings,
    IWAESettings,
    MaskVAESettings,
    VAESettings,
)
from morphospace.zoo.settings_regularised import (
    AAESettings,
    DIPVAESettings,
    InfoVAESettings,
    RAESettings,
    WAESettings,
)
from morphospace.zoo.settings_ladder import LadderVAESettings
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
from morphospace.zoo.settings_vq import VQVAESettings
