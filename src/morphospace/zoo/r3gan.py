"""R3GAN (Huang, Gokaslan, Kuleshov & Tompkin 2024): a relativistic loss with R1 and R2 is enough."""

from __future__ import annotations

from morphospace.objectives.adversarial import RELATIVISTIC
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import R3GANSettings


class R3GAN(GAN):
    """Each fake is compared with a real image; zero-centred penalties on both kinds make the game converge locally.

    The paper's generator has a linear output; ours ends in tanh, as every GAN here, so that pixels stay in range.
    """

    settings: R3GANSettings
    objective = RELATIVISTIC
