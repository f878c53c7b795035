"""What a user may say about each model, all in one place; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from morphospace.zoo.registry import ZOO, ModelSettings, settings_class
from morphospace.zoo.settings_gan import DCGANSettings
from morphospace.zoo.settings_vae import AESettings, VAESettings

__all__ = ["ZOO", "ModelSettings", "AESettings", "VAESettings", "DCGANSettings", "settings_class"]
