"""Conditional GAN (Mirza & Osindero 2014), with the projection critic (Miyato & Koyama 2018) as the better option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from morphospace.errors import require
from morphospace.models.conditioning import Conditioning
from morphospace.objectives.adversarial import NONSATURATING
from morphospace.zoo.adversarial import GAN
from morphospace.zoo.settings_gan import CGANSettings


class CGAN(GAN):
    """An embedding of the condition joins the code; the critic judges whether an image is real and of that kind.

    Fakes are drawn for the conditions of the real images in the batch, so that both sides have them equally often.
    """

    settings: CGANSettings
    objective = NONSATURATING
    replaceable: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        settings: CGANSettings,
        shape: tuple[int, int, int],
        parts: Mapping[str, nn.Module],
        conditioning: Conditioning | None = None,
    ) -> None:
        told = settings.condition
        require(conditioning is not None, "condition", told, "a conditional model needs data that say it of each image")
        super().__init__(settings, shape, parts, conditioning)
