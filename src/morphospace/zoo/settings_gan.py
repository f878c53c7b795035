"""The settings of every GAN; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import OFF, Above, AtLeast, Below, Between
from morphospace.roles import Role
from morphospace.zoo.registry import ModelSettings, member

AUGMENTATIONS = ("colour", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class GANSettings(ModelSettings):
    """What every GAN has: two networks, the order of their updates, and remedies for instability and mode collapse.

    Attributes:
        init: Initial weights: torch's own (`default`), Glorot's uniform ones with biases 0 (`glorot`), N(0, 0.02) with
            batch-norm scales N(1, 0.02) (`dcgan`), or N(0, 1) for transposed convolutions only (`wide`). Residual
            towers have their own.
        tower: `conv` for the convolutions of DCGAN, `mlp` for fully connected layers, `residual` for R3GAN's blocks.
        widths: Channels (or units) of the critic's layers, image side first; the generator mirrors them. When empty,
            they double from `base_width`, one layer for each halving of the image.
        base_width: Channels of the critic's first layer where `widths` is empty.
        generator_widths: The generator's own, code side first, when it is not the critic's mirror.
        generator_bias: Biases in the generator's inner transposed convolutions.
        stem: How a code becomes the first feature map: a `linear` layer or a transposed convolution (`conv`); the
            same map, but initialised differently.
        blocks: Residual blocks of each size.
        attention: Halvings of the image before the feature map, in generator and critic, that self-attention follows:
            each place of it then looks at all others (Zhang et al. 2019). 2 is a map of 16x16 for images of 64x64. 0
            for none; convolutions only.
        excitation: In the generator, let small feature maps scale the channels of those half the tower later
            (skip-layer excitation, Liu et al. 2021), a short way for the gradient; convolutions only.
        upsampling: How the generator doubles a map: by a `transposed` convolution, or by repeating each place and a 3x3
            convolution (`nearest`), which begins without a chequered pattern, at about the same price; convolutions
            only.
        slope: Negative slope of the critic's leaky ReLU.
        critic_norm: Batch norm or layer norm in a convolutional critic from its second layer on, or none; without it
            the critic's layers have biases. Layer norm does not let the images of a batch mix.
        critic_bias: Biases in the first layer of a convolutional critic with a norm. Without them, as in published
            DCGANs, the norm of the second layer removes the contrast of all images (of each image, for layer norm), so
            the generator does not learn how strong it must be.
        share_fakes: Update critic and generator with the same fakes, instead of new ones for the generator.
        critic_lr: The critic's learning rate, when it differs.
        turns: Updates of the critic for each update of the generator, each on new images.
        weight_clip: Keep the critic's weights within plus or minus this, 0 for no limit.
        gradient_penalty: Weight of (|critic's gradient| - 1)^2 between real and generated images (WGAN-GP).
        r1: Weight gamma of half the critic's squared gradient at real images.
        r2: The same at generated images.
        penalty_by_size: Multiply `r1` and `r2` by (side / 64)^2, with the side of an image in pixels (the root of its
            area): larger images need a heavier penalty.
        penalty_decay_images: Lower `r1` and `r2` to a tenth over so many images, along a cosine; 0 keeps them.
        penalty_every: Compute the gradient penalties on every n-th step only, with n times the weight.
        spectral_norm: Divide every weight matrix of the critic by its largest singular value.
        minibatch_discrimination: Number of features that describe to the critic how similar the images of a batch are,
            0 for none (Salimans et al. 2016 take 100).
        feature_matching: Weight of the distance between the critic's mean features of real and generated images in
            the generator's loss.
        critic_reconstruction: Weight of a task that keeps the critic from learning few images by heart: from its last
            feature map, further layers must draw each real image small; the term is the mean absolute difference of
            their pixels in [-1, 1] (Liu et al. 2021). 0 for none; convolutions only.
        replay: Share of the critic's generated images taken from a memory of earlier ones.
        replay_images: Images that this memory holds.
        unrolled: Number of critic steps that the generator's update looks ahead, and differentiates through.
        unrolled_lr: Learning rate of these steps, which are plain gradient descent.
        packing: Images that the critic judges together (PacGAN); the batch must be a multiple.
        augment: Differentiable augmentation of all images that the critic sees, for small data sets: any of `colour`,
            `translation` and `cutout`.
    """

    # A game needs updates more than it needs large batches, and on a CPU a large batch is hardly faster an image.
    usual_batch: ClassVar[Mapping[str, int]] = {"cpu": 32}
    earlier: ClassVar[Mapping[str, Any]] = {"base_width": 64, "critic_bias": False, "penalty_by_size": False}

    latent_dim: int = 100
    betas: tuple[float, float] = (0.5, 0.999)
    init: Literal["default", "glorot", "dcgan", "wide"] = "dcgan"
    tower: Annotated[Literal["conv", "mlp", "residual"], Role.FIT] = "conv"
    widths: Annotated[tuple[Annotated[int, AtLeast(1)], ...], Role.FIT] = ()
    base_width: Annotated[int, Role.FIT, Between(1, 4096)] = 32
    generator_widths: Annotated[tuple[Annotated[int, AtLeast(1)], ...], Role.FIT] = ()
    generator_bias: Annotated[bool, Role.FIT] = False
    stem: Annotated[Literal["linear", "conv"], Role.FIT] = "linear"
    blocks: Annotated[int, Role.FIT, Between(1, 16)] = 1
    attention: Annotated[int, Role.FIT, Between(0, 16, OFF)] = 0
    excitation: Annotated[bool, Role.FIT] = False
    upsampling: Annotated[Literal["transposed", "nearest"], Role.FIT] = "transposed"
    slope: Annotated[float, Role.FIT, Below(0, 1)] = 0.2
    critic_norm: Annotated[Literal["batch", "layer", "none"], Role.FIT] = "batch"
    critic_bias: Annotated[bool, Role.FIT] = True
    share_fakes: bool = False
    critic_lr: Annotated[float | None, Role.FIT, Above(0, 10)] = None
    turns: Annotated[int, Role.FIT, Between(1, 1000)] = 1
    weight_clip: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    gradient_penalty: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    r1: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    r2: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    penalty_by_size: bool = False
    penalty_decay_images: Annotated[int, AtLeast(0, way_out=OFF)] = 0
    penalty_every: Annotated[int, Between(1, 1000)] = 1
    spectral_norm: bool = False
    minibatch_discrimination: Annotated[int, Between(0, 10_000, OFF)] = 0
    feature_matching: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    critic_reconstruction: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    replay: Annotated[float, Below(0, 1, OFF)] = 0.0
    replay_images: Annotated[int, Between(1, 10**7)] = 2048
    unrolled: Annotated[int, Between(0, 100, OFF)] = 0
    unrolled_lr: Annotated[float, Above(0, 1000)] = 0.1
    packing: Annotated[int, Between(1, 64)] = 1
    augment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        known = f"must be of {', '.join(AUGMENTATIONS)}"
        require(set(self.augment) <= set(AUGMENTATIONS), "augment", self.augment, known)
        self.check_remedies()

    @property
    def penalised(self) -> bool:
        """Whether the critic's gradient is penalised."""
        return bool(self.gradient_penalty or self.r1 or self.r2)

    @property
    def couples(self) -> str:
        """What makes the critic's judgement of an image depend on the rest of its batch, in words; empty if nothing."""
        if self.tower == "conv" and self.critic_norm == "batch":
            return "batch norm (add --critic-norm none)"
        return "minibatch discrimination (leave it out)" if self.minibatch_discrimination else ""

    def check_remedies(self) -> None:
        """Check the remedies.

        Raises:
            SettingError: If this critic does not allow one, or if two of them undo each other.
        """
        for name in ("gradient_penalty", "r1", "r2"):
            value = getattr(self, name)
            why = f"a penalty is on each image's own gradient, and {self.couples} lets images in a batch mix"
            require(not (value and self.couples), name, value, why)
        normed = self.tower == "conv" and self.critic_norm != "none"
        on = self.spectral_norm
        why = f"{self.critic_norm} norm rescales what spectral norm has limited; add --critic-norm none"
        require(not (on and normed), "spectral_norm", on, why)
        why = f"limits the weights already, and so does weight_clip = {self.weight_clip}; take one of them"
        require(not (on and self.weight_clip), "spectral_norm", on, why)
        why = "divides by the norm of every layer, and residual blocks begin at 0; add --tower conv"
        require(not (on and self.tower == "residual"), "spectral_norm", on, why)
        why = f"holds the critic's slope already, and so does weight_clip = {self.weight_clip}; take one of them"
        require(not (self.gradient_penalty and self.weight_clip), "gradient_penalty", self.gradient_penalty, why)
        for name in ("attention", "excitation", "critic_reconstruction"):
            value, why = getattr(self, name), f"is for feature maps of convolutions, and tower is {self.tower!r}"
            require(self.tower == "conv" or not value, name, value, why, "add --tower conv, or leave it out")
        how, why = self.upsampling, f"is how convolutions double a map, and tower is {self.tower!r}"
        fits = self.tower == "conv" or how == "transposed"
        require(fits, "upsampling", how, why, "add --tower conv, or --upsampling transposed")
        kernels = self.minibatch_discrimination
        why = f"packing = {self.packing} shows the critic several images at once as well; take one of them"
        require(not (kernels and self.packing > 1), "minibatch_discrimination", kernels, why)
        why = "looks ahead by the critic's plain loss, which a penalty, a reconstruction or clipped weights change"
        changed = self.penalised or self.weight_clip or self.critic_reconstruction
        require(not (self.unrolled and changed), "unrolled", self.unrolled, why, "take one of them")
        why = "compares features of the critic as it is, unrolled updates judge by the critic to come; take one"
        require(not (self.feature_matching and self.unrolled), "feature_matching", self.feature_matching, why)
        every = self.penalty_every
        on, decay = self.penalty_by_size, self.penalty_decay_images
        why = "changes r1 and r2, and there is neither; add --r1 or --r2"
        centred = bool(self.r1 or self.r2)
        require(centred or not on, "penalty_by_size", on, why)
        require(centred or not decay, "penalty_decay_images", decay, why)
        why = "there is no gradient penalty to take; add --r1, --r2 or --gradient-penalty"
        require(every == 1 or self.penalised, "penalty_every", every, why)


@member("dcgan", "morphospace.zoo.gan:DCGAN", "Radford et al. 2016; Goodfellow et al. 2014")
@dataclass(frozen=True, kw_only=True)
class DCGANSettings(GANSettings):
    """Convolutional GAN with the non-saturating loss.

    The paper has `--lr 2e-4`, with batches of 128 and without averaged weights: it learns several times more slowly.
    """


@member("wgan", "morphospace.zoo.gan:WGAN", "Arjovsky et al. 2017")
@dataclass(frozen=True, kw_only=True)
class WGANSettings(GANSettings):
    """Wasserstein GAN with clipped weights.

    The paper has `--turns 5 --lr 5e-5`: with as few updates of the generator, the images of a CPU's minutes are blurs.

    Attributes:
        weight_clip: Keep the critic's weights within plus or minus this, 0 for no limit: the loss is then no distance.
    """

    optimizer: Literal["adam", "adamw", "rmsprop"] = "rmsprop"
    betas: tuple[float, float] = (0.0, 0.99)
    turns: int = 2
    lr: float = 2e-4
    weight_clip: float = 0.01


@member("wgan-gp", "morphospace.zoo.gan:WGANGP", "Gulrajani et al. 2017")
@dataclass(frozen=True, kw_only=True)
class WGANGPSettings(GANSettings):
    """Wasserstein GAN whose critic is held near slope 1 by a gradient penalty over the whole image.

    The paper has `--turns 5 --penalty-every 1 --lr 1e-4 --critic-lr 1e-4`: with as few updates of the generator, the
    images of a CPU's minutes are blurs.
    """

    earlier: ClassVar[Mapping[str, Any]] = {**GANSettings.earlier, "critic_lr": None}

    init: Literal["default", "glorot", "dcgan", "wide"] = "default"
    betas: tuple[float, float] = (0.0, 0.9)
    critic_norm: Literal["batch", "layer", "none"] = "layer"
    critic_lr: float | None = 4e-4
    gradient_penalty: float = 10.0
    penalty_every: int = 4


@member("sngan", "morphospace.zoo.gan:SNGAN", "Miyato et al. 2018")
@dataclass(frozen=True, kw_only=True)
class SNGANSettings(GANSettings):
    """GAN with spectral norm on every layer of the critic and the hinge loss."""

    betas: tuple[float, float] = (0.0, 0.9)
    init: Literal["default", "glorot", "dcgan", "wide"] = "default"
    slope: float = 0.1
    critic_norm: Literal["batch", "layer", "none"] = "none"
    spectral_norm: bool = True


@dataclass(frozen=True, kw_only=True)
class ConditionalGANSettings(GANSettings):
    """What every GAN that is given a condition has.

    Attributes:
        condition: The condition of an image: `label`, or `attributes:Smiling,Male`.
        embedding: Length of the condition's embedding, which joins the code.
        generator_conditioning: How the generator is given the condition: an embedding joins its `code`, or the
            condition scales and shifts the channels after each batch `norm` (convolutions only; de Vries et al. 2017),
            which gives more varied images of a class; `auto` takes that where it can.
    """

    condition: str = "label"
    embedding: Annotated[int, Between(1, 65_536)] = 100
    generator_conditioning: Annotated[Literal["auto", "code", "norm"], Role.FIT] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        why = "is empty; name what to tell it, `label` or `attributes:NAME,NAME`"
        require(bool(self.condition), "condition", self.condition, why)
        why = "the memory keeps images without their classes; leave it out of a conditional model"
        require(not self.replay, "replay", self.replay, why)
        why = f"needs the batch norms of --tower conv, and tower is {self.tower!r}; take --generator-conditioning code"
        asked = self.generator_conditioning == "norm"
        require(not asked or self.tower == "conv", "generator_conditioning", self.generator_conditioning, why)
        why = "the generator is given the condition by its batch norms, and embeds none"
        way_out = "add --generator-conditioning code"
        require(not self.by_norm or self.embedding == 100, "embedding", self.embedding, why, way_out)

    @property
    def by_norm(self) -> bool:
        """Whether the generator is given the condition by its batch norms."""
        return self.generator_conditioning == "norm" or (self.generator_conditioning == "auto" and self.tower == "conv")


@member("cgan", "morphospace.zoo.gan:CGAN", "Mirza & Osindero 2014; Miyato & Koyama 2018 (projection)")
@dataclass(frozen=True, kw_only=True)
class CGANSettings(ConditionalGANSettings):
    """Conditional GAN: asked for a class, or for attributes, it draws one of those.

    Attributes:
        conditioning: How the critic is given the condition: its inner product with the features (`projection`), or a
            further plane of the image (`embedding`).
    """

    earlier: ClassVar[Mapping[str, Any]] = {**GANSettings.earlier, "generator_conditioning": "code"}

    conditioning: Literal["projection", "embedding"] = "projection"


@member("acgan", "morphospace.zoo.acgan:ACGAN", "Odena et al. 2017")
@dataclass(frozen=True, kw_only=True)
class ACGANSettings(ConditionalGANSettings):
    """Conditional GAN whose critic is not given the condition but classifies: each image must show its own.

    Attributes:
        classification: Weight of the classification, in the critic's turn of real images and in the generator's of
            generated ones.
        classify_generated: Classify generated images in the critic's turn as well, as published.
    """

    classification: Annotated[float, Below(0, 1e6)] = 1.0
    classify_generated: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_for_reader(self)


@member("info-gan", "morphospace.zoo.info_gan:InfoGAN", "Chen et al. 2016")
@dataclass(frozen=True, kw_only=True)
class InfoGANSettings(GANSettings):
    """GAN that finds categories and continuous factors of images without labels: each image shows what it was made by.

    Attributes:
        latent_dim: Number of latent dimensions: `variables` x `categories`, then `continuous`; the rest is noise.
        categories: Number of categories of a categorical variable, 0 for no such variable.
        variables: Number of categorical variables.
        continuous: Number of continuous codes.
        information: Weight of the information that an image has of its categories.
        continuous_information: Weight of the information that an image has of its continuous codes. With a large one
            all images of a category become alike, because noise is in the way of reading the codes.
    """

    latent_dim: int = 74
    critic_lr: float | None = 2e-4
    categories: Annotated[int, Between(0, 1000)] = 10
    variables: Annotated[int, Between(1, 1000)] = 1
    continuous: Annotated[int, Between(0, 1000)] = 2
    information: Annotated[float, Below(0, 1e6)] = 1.0
    continuous_information: Annotated[float, Below(0, 1e6)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.categories != 1, "categories", self.categories, "is always the same one", "take 2 or more, or 0")
        recognised = self.variables * self.categories + self.continuous
        require(recognised > 0, "continuous", self.continuous, "leaves nothing to recognise", "add --categories")
        parts = f"{self.variables} x {self.categories} categories and {self.continuous} continuous codes"
        rule = f"must be at least {recognised}, for {parts}"
        require(recognised <= self.latent_dim, "latent_dim", self.latent_dim, rule)
        refuse_for_reader(self)


def refuse_for_reader(settings: GANSettings) -> None:
    """Check that the critic's features are each of one image, whose code and condition are known.

    Raises:
        SettingError: If a remedy is in the way.
    """
    for name, off, why in (
        ("packing", 1, "joins the features of several images"),
        ("replay", 0.0, "keeps images without what they were made by"),
        ("unrolled", 0, "judges by a critic to come, whose features are not read"),
    ):
        value, rule = getattr(settings, name), f"{why}, and {settings.name} reads each image's own"
        require(value == off, name, value, rule, "leave it out")


@member("lsgan", "morphospace.zoo.gan:LSGAN", "Mao et al. 2017")
@dataclass(frozen=True, kw_only=True)
class LSGANSettings(GANSettings):
    """GAN with squared errors to the targets 0 and 1 in place of logarithms.

    The critic learns at less than half the generator's rate. With the same one it won at once on photographs.
    """

    earlier: ClassVar[Mapping[str, Any]] = {**GANSettings.earlier, "critic_lr": None}

    critic_lr: float | None = 4e-4


@member("fast-gan", "morphospace.zoo.gan:FastGAN", "Liu et al. 2021")
@dataclass(frozen=True, kw_only=True)
class FastGANSettings(GANSettings):
    """GAN for a folder of 100 to 2,000 images."""

    usual_batch: ClassVar[Mapping[str, int]] = {"cpu": 16}

    excitation: Annotated[bool, Role.FIT] = True
    upsampling: Annotated[Literal["transposed", "nearest"], Role.FIT] = "nearest"
    critic_norm: Annotated[Literal["batch", "layer", "none"], Role.FIT] = "none"
    critic_lr: Annotated[float | None, Role.FIT, Above(0, 10)] = 4e-4
    spectral_norm: bool = True
    augment: tuple[str, ...] = ("colour", "translation")


@member("r3gan", "morphospace.zoo.gan:R3GAN", "Huang et al. 2024")
@dataclass(frozen=True, kw_only=True)
class R3GANSettings(GANSettings):
    """Each fake is compared with a real image, and R1 and R2 hold the critic: stable, varied, without batch norm.

    The paper's networks are `--tower residual --penalty-every 1`; on a CPU these see a tenth of the images a minute.

    Attributes:
        widths: Channels of the critic's stages, image side first; the generator mirrors them. When empty, they double
            from `base_width`, one stage for each halving of the image.
    """

    latent_dim: int = 64
    betas: tuple[float, float] = (0.0, 0.99)
    critic_norm: Literal["batch", "layer", "none"] = "none"
    r1: float = 2.0
    r2: float = 2.0
    penalty_by_size: bool = True
    penalty_every: int = 8
