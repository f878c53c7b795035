"""Wasserstein GAN with clipped weights (Arjovsky, Chintala & Bottou 2017)."""

from __future__ import annotations

from morphospace.objectives.adversarial import WASSERSTEIN
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import WGANSettings


class WGAN(GAN):
    """The critic's lead on real images bounds a multiple of the earth mover's distance; clipping holds its slope."""

    settings: WGANSettings
    objective = WASSERSTEIN
