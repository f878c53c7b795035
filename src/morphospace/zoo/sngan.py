"""Spectrally normalised GAN (Miyato, Kataoka, Koyama & Yoshida 2018) with the hinge loss."""

from __future__ import annotations

from morphospace.objectives.adversarial import HINGE
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import SNGANSettings


class SNGAN(GAN):
    """Every layer of the critic has a largest singular value of 1, hence the critic a bounded slope."""

    settings: SNGANSettings
    objective = HINGE
