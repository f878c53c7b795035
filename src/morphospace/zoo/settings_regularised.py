"""The settings of autoencoders that are held to a prior, or kept smooth, by other terms than a VAE's KL; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import OFF, Above, AtLeast, Below, Inside
from morphospace.roles import AgainstCollapse, Role, TowardsPrior
from morphospace.zoo.registry import member
from morphospace.zoo.settings_vae import AESettings, Likelihoods, VAESettings

Kernel = Literal["imq", "rbf"]


@member("wae", "morphospace.zoo.wae:WAE", "Tolstikhin et al. 2018 (WAE-MMD)")
@dataclass(frozen=True, kw_only=True)
class WAESettings(AESettings):
    """Autoencoder whose codes, taken together, are distributed as N(0, I), so that it can be sampled from.

    Attributes:
        lambda_: Weight of the discrepancy (squared MMD) between the codes of a batch and N(0, I). The discrepancy is a
            number up to 14 (`imq`) or 2 (`rbf`), and stands beside an error summed over pixels.
        kernel: How two codes are compared: `imq` for the sum of seven inverse multiquadrics of the paper, whose slow
            tails reach codes far away, or `rbf` for a Gaussian of fixed width.
    """

    small_set_batch: ClassVar[int] = 128  # a discrepancy is estimated from a batch, and badly from a small one
    least_batch: ClassVar[int] = 2

    lambda_: Annotated[float, Inside(0, 1e6), TowardsPrior()] = 200.0
    kernel: Kernel = "imq"


@member("info-vae", "morphospace.zoo.info_vae:InfoVAE", "Zhao et al. 2019 (MMD)")
@dataclass(frozen=True, kw_only=True)
class InfoVAESettings(AESettings):
    """VAE whose codes say more of an image: the KL of each code weighs less, and all together are held to N(0, I).

    Attributes:
        alpha: How much of the KL of each code is left out: it weighs 1 - alpha. 1 leaves out all of it, 0 none.
        lambda_: Weight of the distance between the codes of all images and N(0, I), as in the paper: its squared MMD
            weighs alpha + lambda - 1, which must not be negative. With alpha 0, lambda 1 is the VAE.
        kernel: How two codes are compared, as for `wae`: `imq` or `rbf`.
    """

    small_set_batch: ClassVar[int] = 128  # as for wae
    least_batch: ClassVar[int] = 2

    likelihood: Likelihoods = "bernoulli"
    alpha: Annotated[float, Above(-1e6, 1), AgainstCollapse("a higher {flag}")] = 0.5
    lambda_: Annotated[float, Below(0, 1e6), TowardsPrior()] = 100.0
    kernel: Kernel = "imq"

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = f"must be at least 1 - alpha = {1 - self.alpha:g}, or the MMD would weigh less than nothing"
        require(self.mmd_weight >= 0, "lambda", self.lambda_, rule, "give a larger --lambda or --alpha")

    @property
    def mmd_weight(self) -> float:
        """Weight of the squared MMD, alpha + lambda - 1."""
        return round(self.alpha + self.lambda_ - 1, 12)  # 0.7 + 0.3 - 1 is no 0 in floating point


@member("rae", "morphospace.zoo.rae:RAE", "Ghosh et al. 2020")
@dataclass(frozen=True, kw_only=True)
class RAESettings(AESettings):
    """Autoencoder with a smooth decoder and short codes; samples come from a mixture fitted to its codes.

    Attributes:
        norm: Batch norm after every inner convolution of the encoder, or none. The decoder has none: batch norm would
            rescale what is limited, and let the images of a batch mix.
        regulariser: What keeps the decoder smooth: a `gradient` penalty, `l2` on its weights, `spectral` norm on each
            of its layers, or `none`.
        weight: Weight of the gradient penalty or of l2, beside an error summed over pixels; 0.01 or 0.0001 if left out.
            The gradient penalty does what noise of that variance on each code would do.
        beta: Weight of half the squared length of a code; if left out 0.05, or 0.0001 with spectral norm, whose decoder
            needs long codes to reach every grey.
    """

    usual_beta: ClassVar[Mapping[str, float]] = {"gradient": 0.05, "l2": 0.05, "spectral": 1e-4, "none": 0.05}
    usual_weight: ClassVar[Mapping[str, float]] = {"gradient": 0.01, "l2": 1e-4}

    norm: Annotated[Literal["batch", "none"], Role.FIT] = "batch"
    regulariser: Literal["gradient", "l2", "spectral", "none"] = "gradient"
    weight: Annotated[float | None, Below(0, 1e6, OFF)] = None
    beta: Annotated[float | None, Below(0, 1e6, OFF)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = f"regulariser is {self.regulariser!r}, which has no weight"
        allowed = self.weight is None or self.regulariser in self.usual_weight
        require(allowed, "weight", self.weight, rule, "take --regulariser gradient or l2")

    @property
    def length_weight(self) -> float:
        """The weight of half the squared length of a code, as set or the usual one."""
        return self.usual_beta[self.regulariser] if self.beta is None else self.beta

    @property
    def regulariser_weight(self) -> float:
        """The weight of the regulariser, as set or the usual one; 0 where there is nothing to weigh."""
        return self.usual_weight.get(self.regulariser, 0.0) if self.weight is None else self.weight


@member("aae", "morphospace.zoo.aae:AAE", "Makhzani et al. 2016")
@dataclass(frozen=True, kw_only=True)
class AAESettings(AESettings):
    """Autoencoder whose codes a critic cannot distinguish from N(0, I), so that it can be sampled from.

    Attributes:
        critic_widths: Units of the hidden layers of the critic of codes.
        critic_lr: The critic's learning rate.
        encoder_lr: Learning rate of the encoder's second update in a step, which is to deceive the critic. As large as
            `lr`, it spoils the reconstruction.
    """

    small_set_batch: ClassVar[int] = 128  # as for wae

    betas: tuple[float, float] = (0.5, 0.999)
    critic_widths: Annotated[tuple[Annotated[int, AtLeast(1)], ...], Role.FIT] = (256, 256)
    critic_lr: Annotated[float, Role.FIT, Above(0, 10)] = 1e-3
    encoder_lr: Annotated[float, Role.FIT, Above(0, 10), TowardsPrior()] = 1e-4


@member("dip-vae", "morphospace.zoo.dip_vae:DIPVAE", "Kumar et al. 2018")
@dataclass(frozen=True, kw_only=True)
class DIPVAESettings(VAESettings):
    """VAE whose latent dimensions are uncorrelated over all images, each with variance 1.

    Attributes:
        variant: Whose covariance is brought to that of N(0, I): of the posteriors' means (`I`), or of the codes (`II`),
            which adds the posteriors' mean variance.
        off_diagonal: Weight of the squared covariances of two dimensions (lambda_od).
        diagonal: Weight of the squared distances of the variances from 1 (lambda_d); as the paper has it if left out:
            ten times `off_diagonal` with variant I, the same with II.
    """

    small_set_batch: ClassVar[int] = 128  # a covariance is estimated from a batch, and badly from a small one
    least_batch: ClassVar[int] = 2

    variant: Literal["I", "II"] = "II"
    off_diagonal: Annotated[float, Below(0, 1e6)] = 10.0
    diagonal: Annotated[float | None, Below(0, 1e6)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = "is learned, and the covariance is held to that of N(0, I)"
        require(self.prior == "normal", "prior", self.prior, rule, "leave it out")

    @property
    def diagonal_weight(self) -> float:
        """The weight of the diagonal as set, or as the paper has it."""
        return self.off_diagonal * (10 if self.variant == "I" else 1) if self.diagonal is None else self.diagonal
