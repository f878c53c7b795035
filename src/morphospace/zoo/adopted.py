"""Networks that were trained elsewhere, as a model: the tools use them as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from morphospace.errors import SettingError, require
from morphospace.models.contract import Model
from morphospace.models.described import check_sizes, networks_of
from morphospace.models.distributions import DiagonalGaussian, Point, Posterior, full
from morphospace.objectives.phase import Round
from morphospace.zoo.settings_adopted import AdoptedSettings


def described_networks(settings: AdoptedSettings, shape: tuple[int, int, int]) -> dict[str, nn.Module]:
    """Build the networks that settings describe, after running them without memory: they may be a stranger's.

    Raises:
        SettingError: If they are none, or make more numbers than memory should hold.
    """
    examples = {"decoder": (2, settings.latent_dim), "encoder": (2, shape[2], *shape[:2])}
    with torch.device("meta"):
        for name, network in networks_of(settings.networks).items():
            require(name in examples, "networks", name, "must be decoder or encoder")
            check_sizes(network, torch.zeros(examples[name]))
    return networks_of(settings.networks)


class Adopted(Model):
    """A decoder of codes (B, D) to images (B, C, H, W) in the range that the settings state. Its prior is N(0, I)."""

    settings: AdoptedSettings
    replaceable: ClassVar[tuple[str, ...]] = ("decoder",)

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Take the caller's networks, after trying them on an example."""
        self.decoder = self.adopted(parts, "decoder", (self.latent_dim,), self.channels_first)
        self.networks = nn.ModuleDict({"decoder": self.decoder})

    @property
    def channels_first(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.shape[2], *self.shape[:2]

    def adopted(
        self, parts: Mapping[str, nn.Module], name: str, given: Sequence[int], made: Sequence[int]
    ) -> nn.Module:
        """Return one of the caller's networks.

        Raises:
            SettingError: If it is missing, is no network with weights, or does not map `given` to `made`.
        """
        part = parts.get(name)
        require(isinstance(part, nn.Module), name, part, "must be a torch.nn.Module", "put the function into one")
        assert part is not None
        weight = next(part.parameters(), None)
        if weight is None:
            raise SettingError(name, type(part).__name__, "has no weights", "give a trained network")
        example = torch.zeros(2, *given, device=weight.device, dtype=weight.dtype)
        if name == "encoder":
            outputs, also = 2 * self.latent_dim, (2, self.latent_dim)
            way_out = "let it end in nn.Flatten() if it gives feature maps"
            return self.part(parts, name, example, (2, outputs), lambda: part, pair=True, also=also, way_out=way_out)
        reshape = f"nn.Unflatten(1, ({self.latent_dim}, 1, 1))"
        way_out = f"if it takes codes as images of one pixel, give nn.Sequential({reshape}, decoder)"
        return self.part(parts, name, example, (2, *made), lambda: part, way_out=way_out)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the images (B, C, H, W) of codes (B, D), as the decoder gives them."""
        return full(self.decoder(z))

    def rounds(self) -> Sequence[Round]:
        """Return no phase: how it was trained is not known."""
        return ()


class AdoptedAutoencoder(Adopted):
    """The same with an encoder, which gives codes (B, D), or mean and log variance: (B, 2 D), or two of (B, D)."""

    replaceable: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def build_networks(self, parts: Mapping[str, nn.Module]) -> None:
        """Take both networks."""
        super().build_networks(parts)
        self.encoder = self.adopted(parts, "encoder", self.channels_first, (self.latent_dim,))
        self.networks["encoder"] = self.encoder

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Posterior:
        """Return the code of images (B, C, H, W) in the stated range, or its distribution."""
        output = self.encoder(images)
        if isinstance(output, Tensor) and output.shape[1] == self.latent_dim:
            return Point(full(output))
        return DiagonalGaussian.from_parameters(output)
