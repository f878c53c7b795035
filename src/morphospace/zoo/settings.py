"""What a user may say about each model; free of torch, so that `--help` stays quick.

A zoo member is one settings class here, registered by its decorator, and one file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from morphospace.errors import SettingError, nearest, require

if TYPE_CHECKING:
    from morphospace.models.conditioning import Conditioning
    from morphospace.models.contract import Model

__all__ = ["ZOO", "ModelSettings", "AESettings", "VAESettings", "DCGANSettings", "settings_class"]

ZOO: dict[str, type[ModelSettings]] = {}

S = TypeVar("S", bound="type[ModelSettings]")


def member(name: str, implementation: str, paper: str) -> Callable[[S], S]:
    """Register a settings class as zoo member `name`, implemented by `implementation` ("module:Class")."""

    def register(cls: S) -> S:
        cls.name, cls.implementation, cls.paper = name, implementation, paper
        ZOO[name] = cls
        return cls

    return register


def settings_class(name: str) -> type[ModelSettings]:
    """Return the settings class of zoo member `name`.

    Raises:
        SettingError: There is no such member; the message names the nearest one.
    """
    if name not in ZOO:
        raise SettingError(f"model = {name!r}: no such model{nearest(name, ZOO)}; see `morpho models`")
    return ZOO[name]


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What every model has: a latent space, and an optimizer for each player.

    Attributes:
        latent_dim: Number of latent dimensions.
        lr: Learning rate of every player's optimizer.
        optimizer: Adam, or Adam with decoupled weight decay.
        betas: Adam's decay rates of the first and second moment.
        weight_decay: Weight decay; L2 in `adam`, decoupled in `adamw`.
        init: Initial weights: torch's own (`default`), N(0, 0.02) with batch-norm scales N(1, 0.02) (`dcgan`), or
            N(0, 1) for transposed convolutions only (`wide`, as one published face VAE has it).
    """

    name: ClassVar[str]
    implementation: ClassVar[str]
    paper: ClassVar[str]

    latent_dim: int = 32
    lr: float = 1e-3
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    init: Literal["default", "dcgan", "wide"] = "default"

    def __post_init__(self) -> None:
        require(1 <= self.latent_dim <= 65_536, "latent_dim", self.latent_dim, "must be from 1 to 65536")
        require(0 < self.lr <= 10, "lr", self.lr, "must be positive and at most 10")
        require(all(0 <= b < 1 for b in self.betas), "betas", self.betas, "both must be in [0, 1)")
        require(0 <= self.weight_decay < 10, "weight_decay", self.weight_decay, "must be in [0, 10)")

    def build(
        self,
        shape: tuple[int, int, int],
        parts: Mapping[str, Any] | None = None,
        conditioning: Conditioning | None = None,
    ) -> Model:
        """Build the model for images of `shape` (H, W, C).

        Args:
            shape: The images' shape.
            parts: The caller's own networks by name, in place of ours.
            conditioning: What a conditional model is told.
        """
        module, _, cls = self.implementation.partition(":")
        return getattr(import_module(module), cls)(self, shape, parts or {}, conditioning)


@member("ae", "morphospace.zoo.ae:AE", "Hinton & Salakhutdinov 2006")
@dataclass(frozen=True, kw_only=True)
class AESettings(ModelSettings):
    """Autoencoder: squeeze an image into a few numbers and rebuild it; no prior until one is fitted.

    Attributes:
        tower: `conv` for convolutional encoder and decoder, `mlp` for fully connected ones.
        widths: Channels (conv) or units (mlp) of the encoder's layers, image side first; the decoder mirrors
            them. Chosen from the image's shape when empty.
        norm: Batch norm after every inner convolution, or none.
        activation: Nonlinearity of the inner layers.
        slope: Negative slope of `leaky`.
        likelihood: p(x | z): `bernoulli` (cross-entropy; a density on binary pixels only), `gaussian`, or
            `squared-error` (summed, without a half: a Gaussian of variance 1/2 up to a constant).
        variance: Of the `gaussian`: `fixed` at sigma squared, one number `learned` by gradient, or `calibrated`
            to the mean squared error, its optimum (Rybkin et al. 2021).
        sigma: Standard deviation of a `fixed` Gaussian, in units of the pixel range; where `learned` starts.
        signed: Scale pixels to [-1, 1] and end in tanh, rather than [0, 1] and sigmoid.
        reduction: `sum` over pixels (nats per image) or `mean` over them, as some published recipes have it.
    """

    tower: Literal["conv", "mlp"] = "conv"
    widths: tuple[int, ...] = ()
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "leaky", "silu", "tanh"] = "leaky"
    slope: float = 0.01
    likelihood: Literal["bernoulli", "gaussian", "squared-error"] = "squared-error"
    variance: Literal["fixed", "learned", "calibrated"] = "calibrated"
    sigma: float = 1.0
    signed: bool = False
    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(all(w >= 1 for w in self.widths), "widths", self.widths, "every width must be at least 1")
        require(0 <= self.slope < 1, "slope", self.slope, "must be in [0, 1)")
        require(1e-4 <= self.sigma <= 100, "sigma", self.sigma, "must be from 0.0001 to 100")
        require(
            not (self.signed and self.likelihood == "bernoulli"),
            "signed",
            self.signed,
            "a Bernoulli likelihood needs pixels in [0, 1]; use --no-signed or --likelihood gaussian",
        )
        require(
            self.likelihood == "gaussian" or self.variance == "calibrated",
            "variance",
            self.variance,
            f"only a Gaussian has a variance, and likelihood is {self.likelihood!r}; add --likelihood gaussian",
        )


@member("vae", "morphospace.zoo.vae:VAE", "Kingma & Welling 2014; Higgins et al. 2017 (beta)")
@dataclass(frozen=True, kw_only=True)
class VAESettings(AESettings):
    """Variational autoencoder, trained on the evidence lower bound in nats per image.

    Attributes:
        likelihood: p(x | z): `bernoulli` (cross-entropy; a density on binary pixels only), `gaussian`, or
            `squared-error` (summed, without a half: a Gaussian of variance 1/2 up to a constant).
        beta: Weight of the KL term; 1 is the ELBO.
        kl_warmup_images: The KL weight rises linearly from 0 over the first so many images.
        kl_reduction: `sum` over latent dimensions (nats) or `mean` over them, as some published recipes have it.
    """

    likelihood: Literal["bernoulli", "gaussian", "squared-error"] = "bernoulli"
    beta: float = 1.0
    kl_warmup_images: int = 0
    kl_reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta < 1e6, "beta", self.beta, "must be in [0, 1e6)")
        require(self.kl_warmup_images >= 0, "kl_warmup_images", self.kl_warmup_images, "must not be negative")

    def beta_in_nats(self, values: int) -> float:
        """Return the beta of the equivalent bound in nats, for images of `values` numbers.

        A mean over pixels divides the reconstruction, a mean over latents divides the KL, and squared error
        without its half is twice a unit-variance Gaussian's; each is undone here.
        """
        beta = self.beta
        if self.reduction == "mean":
            beta *= values
        if self.kl_reduction == "mean":
            beta /= self.latent_dim
        return beta / 2 if self.likelihood == "squared-error" else beta


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
