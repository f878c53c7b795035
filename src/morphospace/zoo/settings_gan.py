"""What a user may say about each GAN; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from morphospace.errors import require
from morphospace.zoo.registry import ModelSettings, member

__all__ = ["DCGANSettings"]


@member("dcgan", "morphospace.zoo.dcgan:DCGAN", "Radford et al. 2016; Goodfellow et al. 2014")
@dataclass(frozen=True, kw_only=True)
class DCGANSettings(ModelSettings):
    """Convolutional GAN with the non-saturating loss.

    Attributes:
        latent_dim: Number of latent dimensions.
        lr: Learning rate of every player's optimizer.
        betas: Adam's decay rates of the first and second moment.
        init: Initial weights: torch's own (`default`), N(0, 0.02) with batch-norm scales N(1, 0.02) (`dcgan`), or
            N(0, 1) for transposed convolutions only (`wide`).
        widths: Channels of the critic's layers, image side first; the generator mirrors them. Chosen from the
            image's shape when empty.
        generator_widths: The generator's own, code side first, when it is not the critic's mirror.
        generator_bias: Biases in the generator's inner transposed convolutions.
        stem: How a code becomes the first feature map: a `linear` layer or a transposed convolution (`conv`); the
            same map, but initialised differently.
        slope: Negative slope of the critic's leaky ReLU.
        share_fakes: Judge and teach with the same fakes, rather than fresh ones for the generator's turn.
        critic_lr: The critic's learning rate, when it differs.
    """

    latent_dim: int = 100
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    init: Literal["default", "dcgan", "wide"] = "dcgan"
    widths: tuple[int, ...] = ()
    generator_widths: tuple[int, ...] = ()
    generator_bias: bool = False
    stem: Literal["linear", "conv"] = "linear"
    slope: float = 0.2
    share_fakes: bool = False
    critic_lr: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("widths", "generator_widths"):
            value = getattr(self, name)
            require(all(w >= 1 for w in value), name, value, "every width must be at least 1")
        require(0 <= self.slope < 1, "slope", self.slope, "must be in [0, 1)")
        rate = self.critic_lr
        require(rate is None or 0 < rate <= 10, "critic_lr", rate, "must be positive and at most 10")
