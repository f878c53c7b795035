"""Least-squares GAN (Mao et al. 2017)."""

from __future__ import annotations

from morphospace.objectives.adversarial import LEAST_SQUARES
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import LSGANSettings


class LSGAN(GAN):
    """Squared errors to the targets 1 for real and 0 for generated images, 1 for the generator."""

    settings: LSGANSettings
    objective = LEAST_SQUARES
