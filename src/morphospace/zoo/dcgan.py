"""Convolutional GAN (Radford, Metz & Chintala 2016) with the non-saturating loss (Goodfellow et al. 2014)."""

from __future__ import annotations

from morphospace.objectives.adversarial import NONSATURATING
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import DCGANSettings


class DCGAN(GAN):
    """Minimises -log D(x) - log(1 - D(G(z))) against -log D(G(z))."""

    settings: DCGANSettings
    objective = NONSATURATING
