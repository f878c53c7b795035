"""The settings of autoencoders whose codes are small maps; free of torch, so that `--help` stays quick."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import OFF, Above, AtLeast, Below, Between
from morphospace.roles import Role, TowardsPrior
from morphospace.zoo.registry import ModelSettings, member

PATCH = 0.6  # most of an image's shorter side that a patch covers, where the critic's layers are chosen
Width = Annotated[int, AtLeast(1)]


@member("autoencoder-kl", "morphospace.zoo.autoencoder_kl:AutoencoderKL", "Rombach et al. 2022; Esser et al. 2021")
@dataclass(frozen=True, kw_only=True)
class AutoencoderKLSettings(ModelSettings):
    """The autoencoder that latent diffusion stands on: codes are small maps, and reconstructions look sharp.

    Its networks are those of `AutoencoderKL` of the library diffusers, and take the same weights. The defaults suit a
    laptop; published are widths 128, 256, 512, 512, two blocks and 32 groups, and 0.5 for the critic.

    Attributes:
        latent_dim: Numbers of a code at each place of its map; a whole code has as many at each place.
        widths: Channels at each size of map, image side first; each size but the last is halved, so that one number
            fewer than there are widths says how often.
        blocks: Residual blocks at each size, in the encoder; the decoder has one more.
        groups: Groups of each group norm; must divide the widths.
        attention: Whether each place of the smallest map looks at all others, in encoder and decoder.
        quant_conv: Whether 1x1 convolutions stand before and after the code.
        reconstruction: Whether the error of a pixel is its `absolute` or `squared` difference, for pixels in [-1, 1],
            summed over an image.
        beta: Weight of the KL term, in nats for each image, beside that sum. It limits the size of codes and hardly
            holds them to N(0, I).
        perceptual: Weight of the distance by features, which counts once for each value of an image; 0 for none. The
            features are those of a small autoencoder, trained on the same data before.
        adversarial: How hard the critic pulls at the decoder's last layer, 1 being as hard as reconstruction and
            perceptual distance do; 0 for no critic.
        adversarial_begins: Only after so many images the critic, and what it says, is trained.
        critic_widths: Channels of the critic of patches; each layer but the last halves the image. When empty, 32 and
            its doubles, as many as let a patch cover six tenths of an image's side at most.
        critic_norm: Batch norm in the critic, or none.
        critic_lr: The critic's learning rate.
    """

    usual_batch: ClassVar[Mapping[str, int]] = {"cpu": 32}  # a game, as every GAN

    latent_dim: int = 4
    lr: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.9)
    widths: Annotated[tuple[Width, ...], Role.FIT] = (16, 32, 64)
    blocks: Annotated[int, Role.FIT, Between(1, 64)] = 1
    groups: Annotated[int, Role.FIT, Between(1, 1024)] = 8
    attention: Annotated[bool, Role.FIT] = True
    quant_conv: Annotated[bool, Role.FIT] = True
    reconstruction: Literal["absolute", "squared"] = "absolute"
    beta: Annotated[float, Below(0, 1e6), TowardsPrior()] = 1e-6
    perceptual: Annotated[float, Below(0, 1e6, OFF)] = 1.0
    adversarial: Annotated[float, Below(0, 1e6, OFF)] = 0.1
    adversarial_begins: Annotated[int, AtLeast(0)] = 20_000
    critic_widths: Annotated[tuple[Width, ...], Role.FIT] = ()
    critic_norm: Annotated[Literal["batch", "none"], Role.FIT] = "batch"
    critic_lr: Annotated[float, Role.FIT, Above(0, 10)] = 2e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.widths), "widths", self.widths, "must be one number or more", "give for instance 16,32,64")
        odd = [width for width in self.widths if width % self.groups]
        way_out = f"take widths that are multiples of {self.groups}"
        require(not odd, "groups", self.groups, f"must divide each of the widths, also {odd and odd[0]}", way_out)

    def grid(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """Return the places of a code of images of `shape` (H, W, C), (h, w).

        Raises:
            SettingError: If a side of the images cannot be halved as often as there are sizes of map.
        """
        times = 1 << (len(self.widths) - 1)
        size = f"{shape[0]}x{shape[1]}"
        fitting = "x".join(str(max(1, side // times) * times) for side in shape[:2])
        rule = f"its sides must be multiples of {times}, as {len(self.widths)} widths halve them"
        require(not any(side % times for side in shape[:2]), "size", size, rule, f"add --size {fitting}")
        return shape[0] // times, shape[1] // times

    def code_length(self, shape: tuple[int, int, int]) -> int:
        """Return how many numbers a code has: as many at each place as `latent_dim`."""
        return math.prod(self.grid(shape)) * self.latent_dim

    def critic_layers(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the critic's widths, as set or as chosen for images of `shape` (H, W, C).

        Raises:
            SettingError: If the images cannot be halved that often.
        """
        side, most = min(shape[:2]), len(self.critic_widths)
        rule = f"halve images of {side} pixels to less than 3, and leave no patch"
        require(side >> max(0, most - 1) >= 3 or not most, "critic_widths", self.critic_widths, rule, "give fewer")
        sides = {1: 7, 2: 16, 3: 34, 4: 70}  # of a patch, see `models.latent_maps.patch_side`
        fitting = [count for count, patch in sides.items() if patch <= PATCH * side]
        return self.critic_widths or tuple(32 << i for i in range(max([1, *fitting])))
