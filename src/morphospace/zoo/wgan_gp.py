"""Wasserstein GAN with a gradient penalty (Gulrajani et al. 2017)."""

from __future__ import annotations

from morphospace.objectives.adversarial import WASSERSTEIN
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import WGANGPSettings


class WGANGP(GAN):
    """As WGAN, the critic held near slope 1 by 10 (|gradient| - 1)^2 at points between real and generated images.

    The gradient's norm is taken over the whole image, as in the paper; some teaching material takes it pixel by pixel.
    """

    settings: WGANGPSettings
    objective = WASSERSTEIN
