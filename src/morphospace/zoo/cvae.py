"""Conditional VAE (Sohn, Lee & Yan 2015): labels or attributes joined to the encoder's and the decoder's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from morphospace.errors import SettingError
from morphospace.models.conditioning import Conditioning
from morphospace.zoo.settings_vae import CVAESettings
from morphospace.zoo.vae import VAE

if TYPE_CHECKING:
    from morphospace.data.batches import Batch


class CVAE(VAE):
    """A VAE of p(x | z, c): the condition c is joined to the code, and to the image.

    A fully connected encoder gets it behind the pixels, a convolutional one as channels of one value each.
    """

    settings: CVAESettings

    def __init__(
        self,
        settings: CVAESettings,
        shape: tuple[int, int, int],
        parts: Mapping[str, nn.Module],
        conditioning: Conditioning | None = None,
    ) -> None:
        if conditioning is None:
            raise SettingError(
                "condition",
                settings.condition,
                "cvae must be built with the classes or attributes that this means",
                "give `conditioning`, as train and load do",
            )
        super().__init__(settings, shape, parts, conditioning)

    def condition_of(self, batch: Batch) -> Tensor:
        """Return a batch's conditions, (B, size)."""
        assert self.conditioning is not None
        return self.conditioning.from_batch(batch)

    def checked_condition(self, condition: Tensor | None, like: Tensor) -> Tensor:
        """Return the condition in the type of `like`.

        Raises:
            SettingError: There is none, or it is of another size.
        """
        if condition is None:
            raise SettingError(
                "condition = None",
                rule=f"cvae must be told {self.told} numbers an image",
                way_out="ask for a label or attributes",
            )
        if tuple(condition.shape) != (like.shape[0], self.told):  # not len(): a batch of any size is exported
            raise SettingError(
                "condition", rule=f"has shape {tuple(condition.shape)}, must have {(like.shape[0], self.told)}"
            )
        return condition.to(like)

    def with_image(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Join conditions (B, size) to images: behind the pixels, or as channels."""
        told = self.checked_condition(condition, images)
        if self.settings.tower == "mlp":
            return torch.cat([images.flatten(1), told], 1)
        planes = told[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return torch.cat([images, planes], 1).contiguous(memory_format=torch.channels_last)

    def with_code(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Join conditions (B, size) to codes (B, D)."""
        return torch.cat([z, self.checked_condition(condition, z)], 1)
