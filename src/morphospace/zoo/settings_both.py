"""The settings of GANs with an encoder; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import OFF, Above, AtLeast, Below, Between
from morphospace.roles import Role
from morphospace.zoo.registry import member
from morphospace.zoo.settings_gan import GANSettings
from morphospace.zoo.settings_vae import VAESettings


@member("vae-gan", "morphospace.zoo.vae_gan:VAEGAN", "Larsen et al. 2016")
@dataclass(frozen=True, kw_only=True)
class VAEGANSettings(VAESettings):
    """VAE whose images must also look real to a critic, which makes them sharper than a likelihood alone does.

    Attributes:
        lambda_: Weight of the adversarial loss; 0 is the plain VAE, and the critic has no influence.
        mixing: `sum` for VAE + lambda GAN, or `mix` for (1 - lambda) VAE + lambda GAN, of which 1 is the GAN alone.
        adversarial_unit: Count the adversarial loss once for each `image`, or once for each `value` of an image (height
            x width x channels), which matches publications whose VAE loss is a mean over pixels. Beside a likelihood
            summed over pixels, `image` is next to nothing. With `--reduction mean` both are the same.
        judged: What the critic compares with real images: `reconstructions`, `samples` from the prior, or `both`.
        reconstruction_space: Where an image and its reconstruction are compared: their `pixels`, or the `features`
            of the critic's last layer as published (encoder, decoder and critic then learn at the same time).
        critic_widths: Channels (conv) or units (mlp) of the critic's layers, image side first. Where a convolutional
            critic has none, they double from `critic_base_width`, one layer for each halving of the image.
        critic_base_width: Channels of a convolutional critic's first layer where `critic_widths` is empty.
        critic_norm: Batch norm or layer norm in a convolutional critic from its second layer on, or none.
        critic_bias: Biases in the first layer of a convolutional critic with a norm, as in any GAN.
        critic_lr: The critic's learning rate, when it differs.
        r1: Weight gamma of half the critic's squared gradient at real images, which keeps it smooth; 0 for none.
    """

    usual_batch: ClassVar[Mapping[str, int]] = {"cpu": 32}  # a game, as every GAN
    earlier: ClassVar[Mapping[str, Any]] = {"critic_base_width": 64, "critic_bias": False, "critic_lr": None}

    betas: tuple[float, float] = (0.5, 0.999)
    lambda_: float = 0.03
    mixing: Literal["sum", "mix"] = "sum"
    adversarial_unit: Literal["image", "value"] = "value"
    judged: Literal["reconstructions", "samples", "both"] = "both"
    reconstruction_space: Literal["pixels", "features"] = "pixels"
    critic_widths: Annotated[tuple[Annotated[int, AtLeast(1)], ...], Role.FIT] = ()
    critic_base_width: Annotated[int, Role.FIT, Between(1, 4096)] = 32
    critic_norm: Annotated[Literal["batch", "layer", "none"], Role.FIT] = "none"
    critic_bias: Annotated[bool, Role.FIT] = True
    critic_lr: Annotated[float | None, Role.FIT, Above(0, 10)] = 4e-4
    r1: Annotated[float, Below(0, 1e6, OFF)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        most = 1.0 if self.mixing == "mix" else 1e6
        rule = f"must be from 0 to {most:g} with --mixing {self.mixing}"
        require(0 <= self.lambda_ <= most, "lambda", self.lambda_, rule)
        why = "is on each image's own gradient, and batch norm lets images mix; take --critic-norm none or --r1 0"
        require(not (self.r1 and self.critic_norm == "batch" and self.tower == "conv"), "r1", self.r1, why)
        if self.reconstruction_space == "features":
            learned = self.likelihood == "gaussian" and self.variance == "learned"
            why = "a learned variance learns from the pixels alone; take --variance calibrated or fixed"
            require(not learned, "reconstruction_space", self.reconstruction_space, why)


@member("bigan", "morphospace.zoo.bigan:BiGAN", "Donahue et al. 2017; Dumoulin et al. 2017 (ALI)")
@dataclass(frozen=True, kw_only=True)
class BiGANSettings(GANSettings):
    """GAN with an encoder: the critic judges images with their codes, so the encoder learns to invert the generator.

    Attributes:
        pair_width: Units of the critic's layers that look at an image's features and its code together.
        code_error: Weight of the mean |z - E(G(z))|^2 of a code's numbers in the encoder's loss, which teaches it on
            generated images what the critic alone teaches slowly; 0 as published.
    """

    alone: ClassVar[tuple[str, ...]] = (
        *("share_fakes", "turns", "gradient_penalty", "minibatch_discrimination", "feature_matching"),
        *("critic_reconstruction", "replay", "unrolled", "packing"),
    )
    """Settings of a critic that judges images alone."""

    latent_dim: int = 50
    init: Literal["default", "glorot", "dcgan", "wide"] = "default"
    critic_norm: Literal["batch", "layer", "none"] = "none"
    r1: float = 0.1
    penalty_every: int = 4
    pair_width: Annotated[int, Role.FIT, Between(1, 65_536)] = 256
    code_error: Annotated[float, Below(0, 1e6, OFF)] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.alone:
            value = getattr(self, name)
            why = "is for a critic that judges images alone, and this one judges pairs, while all players move at once"
            require(value == getattr(GANSettings, name), name, value, why, "leave it out")
