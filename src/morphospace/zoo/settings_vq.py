"""The settings of autoencoders whose codes are quantised; free of torch, so that `--help` stays quick."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import Above, AtLeast, Below, Between, Inside
from morphospace.roles import Role
from morphospace.zoo.registry import member
from morphospace.zoo.settings_vae import AESettings, Likelihoods

SHORTEST = 6  # places of a code's shorter side, at least, where the number of layers is chosen


@member("vq-vae", "morphospace.zoo.vq_vae:VQVAE", "van den Oord et al. 2017; Razavi et al. 2019")
@dataclass(frozen=True, kw_only=True)
class VQVAESettings(AESettings):
    """Autoencoder whose code is a grid of entries of a codebook, with an autoregressive prior over them.

    Attributes:
        latent_dim: Length of an entry, the numbers of a code at one place; a whole code has as many at each place.
        tower: Convolutional: codes lie on a grid.
        widths: Channels of the encoder's layers, image side first, each of which halves the image; the decoder mirrors
            them. When empty, as many layers as leave a grid of 6 to 11 places a side.
        blocks: Residual blocks at the grid, in encoder and decoder each.
        entries: Entries of the codebook.
        commitment: Weight of the squared distance of codes from their entries, which keeps the encoder at them.
        codebook_decay: Weight of the past in the entries' moving averages, for each step.
        dead_share: An entry is revived when it is chosen less often than this times an even share; 0 for never.
        prior_width: Channels of the prior, a causal transformer.
        prior_layers: Its layers.
        prior_heads: Its attention heads, which share the channels.
        prior_lr: Its learning rate.
        autoencoder_images: Up to here only the autoencoder learns; afterwards it is fixed, and only the prior learns.
            With 0 both learn all the time.
    """

    usual_batch: ClassVar[Mapping[str, int]] = {"cpu": 32}  # the prior needs many updates
    sample_options: ClassVar[tuple[str, ...]] = ("top_k",)

    latent_dim: int = 8
    likelihood: Likelihoods = "discretised-logistic"
    tower: Annotated[Literal["conv"], Role.FIT] = "conv"
    blocks: Annotated[int, Role.FIT, Between(0, 64)] = 2
    entries: Annotated[int, Between(2, 65_536)] = 256
    commitment: Annotated[float, Inside(0, 1e6)] = 0.25
    codebook_decay: Annotated[float, Role.FIT, Below(0, 1)] = 0.99
    dead_share: Annotated[float, Role.FIT, Below(0, 1)] = 0.1
    prior_width: Annotated[int, Role.FIT, Between(1, 4096)] = 96
    prior_layers: Annotated[int, Role.FIT, Between(1, 64)] = 3
    prior_heads: Annotated[int, Role.FIT, Between(1, 64)] = 4
    prior_lr: Annotated[float, Role.FIT, Above(0, 10)] = 1e-3
    autoencoder_images: Annotated[int, AtLeast(0)] = 0

    def layer_widths(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the encoder's widths, as set or as chosen for images of `shape` (H, W, C)."""
        layers = max(1, int(math.log2(max(2, min(shape[:2]) / SHORTEST))))
        return self.widths or tuple(min(32 * 2**i, 256) for i in range(layers))

    def grid(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """Return the places of a code, (h, w)."""
        layers = len(self.layer_widths(shape))
        return shape[0] >> layers, shape[1] >> layers

    def code_length(self, shape: tuple[int, int, int]) -> int:
        """Return how many numbers a code has: as many at each place as an entry."""
        return math.prod(self.grid(shape)) * self.latent_dim

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.prior_width % self.prior_heads == 0
        rule, way_out = f"must divide the {self.prior_width} channels of the prior", "take 1, or another --prior-width"
        require(fits, "prior_heads", self.prior_heads, rule, way_out)
