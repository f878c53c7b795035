"""Conditional VAE (Sohn, Lee & Yan 2015): labels or attributes joined to the encoder's and the decoder's input."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphospace.errors import SettingError
from morphospace.zoo.settings_vae import CVAESettings
from morphospace.zoo.vae import VAE


class CVAE(VAE):
    """A VAE of p(x | z, c): the condition c is joined to the code, and to the image.

    A fully connected encoder gets it after the pixels, a convolutional one as constant channels.
    """

    settings: CVAESettings

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Build the VAE's networks.

        Raises:
            SettingError: If no conditioning is given.
        """
        if self.conditioning is None:
            rule = "cvae needs the classes or attributes that this refers to"
            raise SettingError("condition", self.settings.condition, rule, "give `conditioning`, as train and load do")
        super().build_networks(parts)

    def checked_condition(self, condition: Tensor | None, like: Tensor) -> Tensor:
        """Return the condition in the type of `like`.

        Raises:
            SettingError: If there is none, or it has another size.
        """
        if condition is None:
            rule = f"cvae needs {self.condition_size} numbers for each image"
            raise SettingError("condition = None", rule=rule, way_out="give a label or attributes")
        if tuple(condition.shape) != (like.shape[0], self.condition_size):  # not len(): a batch of any size is exported
            rule = f"has shape {tuple(condition.shape)}, must have {(like.shape[0], self.condition_size)}"
            raise SettingError("condition", rule=rule)
        return condition.to(like)

    def with_image(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Join conditions (B, size) to images: after the pixels, or as channels."""
        condition = self.checked_condition(condition, images)
        if self.settings.tower == "mlp":
            return torch.cat([images.flatten(1), condition], 1)
        planes = condition[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return torch.cat([images, planes], 1).contiguous(memory_format=torch.channels_last)

    def with_code(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Join conditions (B, size) to codes (B, D)."""
        return torch.cat([z, self.checked_condition(condition, z)], 1)
