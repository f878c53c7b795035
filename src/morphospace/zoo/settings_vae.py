"""The settings of every autoencoder and VAE; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from morphospace.errors import require
from morphospace.ranges import Above, AtLeast, Below, Between, Inside
from morphospace.roles import AgainstCollapse, Role, TowardsPrior
from morphospace.zoo.registry import ModelSettings, member

Likelihoods = Literal[
    "bernoulli",
    "continuous-bernoulli",
    "gaussian",
    "squared-error",
    "discretised-logistic",
    "discretised-logistic-mixture",
    "categorical",
]


@member("ae", "morphospace.zoo.ae:AE", "Hinton & Salakhutdinov 2006")
@dataclass(frozen=True, kw_only=True)
class AESettings(ModelSettings):
    """Autoencoder: it encodes an image in a few numbers and decodes them; it has no prior until one is fitted.

    Attributes:
        tower: `conv` for convolutional encoder and decoder, `mlp` for fully connected ones.
        widths: Channels (conv) or units (mlp) of the encoder's layers, image side first; the decoder mirrors
            them. Chosen from the image's shape when empty.
        norm: Batch norm after every inner convolution, or none.
        activation: Nonlinearity of the inner layers.
        slope: Negative slope of `leaky`.
        likelihood: p(x | z): `bernoulli` (cross-entropy; a density on binary pixels only), `continuous-bernoulli` (the
            same made a density on [0, 1]), `gaussian`, `squared-error` (summed, without a half: a Gaussian of
            variance 1/2 up to a constant), or masses over the 256 levels of 8-bit images: `discretised-logistic`
            (location and scale of every value predicted), `discretised-logistic-mixture` (five of them a value, with
            weights) and `categorical` (256 logits a value).
        variance: Of the `gaussian`: `fixed` at sigma squared, one number `learned` by gradient, or `calibrated`
            to the mean squared error, its optimum (Rybkin et al. 2021).
        sigma: Standard deviation of a `fixed` Gaussian, and the initial value of a `learned` one, in units of the
            pixel range.
        dequantise: Add uniform noise to each 8-bit value, within its level. The density then bounds the probability of
            the levels, and bits per dimension can be compared.
        signed: Scale pixels to [-1, 1] and end in tanh, rather than [0, 1] and sigmoid.
        reduction: `sum` over pixels (nats per image), or `mean` over pixels as in some published recipes.
        output_bias: What the bias of the decoder's last layer begins at: where it alone decodes the mean training image
            (`data`), or as `init` has it.
    """

    tower: Annotated[Literal["conv", "mlp"], Role.FIT] = "conv"
    widths: Annotated[tuple[Annotated[int, AtLeast(1)], ...], Role.FIT] = ()
    norm: Annotated[Literal["batch", "none"], Role.FIT] = "batch"
    activation: Annotated[Literal["relu", "leaky", "silu", "tanh"], Role.FIT] = "leaky"
    slope: Annotated[float, Role.FIT, Below(0, 1)] = 0.01
    likelihood: Likelihoods = "squared-error"
    variance: Literal["fixed", "learned", "calibrated"] = "calibrated"
    sigma: Annotated[float, Between(1e-4, 100)] = 1.0
    dequantise: bool = False
    signed: bool = False
    reduction: Literal["sum", "mean"] = "sum"
    output_bias: Annotated[Literal["data", "init"], Role.FIT] = "data"

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = not (self.signed and self.likelihood in ("bernoulli", "continuous-bernoulli"))
        rule, way_out = "a Bernoulli likelihood needs pixels in [0, 1]", "use --no-signed or --likelihood gaussian"
        require(allowed, "signed", self.signed, rule, way_out)
        allowed = self.likelihood == "gaussian" or self.variance == "calibrated"
        rule = f"only a Gaussian has a variance, and likelihood is {self.likelihood!r}"
        way_out = "add --likelihood gaussian"
        require(allowed, "variance", self.variance, rule, way_out)
        rule, way_out = f"only a Gaussian has one, and likelihood is {self.likelihood!r}", "add --likelihood gaussian"
        require(self.likelihood == "gaussian" or self.sigma == 1.0, "sigma", self.sigma, rule, way_out)
        allowed = not self.dequantise or self.likelihood in ("gaussian", "continuous-bernoulli")
        rule = f"{self.likelihood!r} is no continuous density"
        way_out = "take gaussian or continuous-bernoulli, or --no-dequantise"
        require(allowed, "dequantise", self.dequantise, rule, way_out)

    def in_nats(self, weight: float, values: int) -> float:
        """Convert a weight beside this reconstruction loss to one beside nats, for images of `values` numbers.

        A mean over pixels divides the loss by `values`; squared error without its half is twice the loss of a Gaussian
        of variance 1.
        """
        weight *= values if self.reduction == "mean" else 1
        return weight / 2 if self.likelihood == "squared-error" else weight


@dataclass(frozen=True, kw_only=True)
class PriorSettings(AESettings):
    """What every VAE has whose prior may be learned.

    Attributes:
        prior: p(z): N(0, I) (`normal`), or learned together with the model: a `mixture` of Gaussians, the mean
            posterior of learned pseudo-images (`vamp`; Tomczak & Welling 2018), or a `flow` of affine couplings (Dinh
            et al. 2017).
        prior_components: Gaussians of the mixture, or pseudo-images.
        prior_layers: Couplings of the flow.
    """

    likelihood: Likelihoods = "bernoulli"
    prior: Literal["normal", "mixture", "vamp", "flow"] = "normal"
    prior_components: Annotated[int, Role.FIT, Between(1, 10_000)] = 200
    prior_layers: Annotated[int, Role.FIT, Between(1, 64)] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        mixes = self.prior in ("mixture", "vamp") or self.prior_components == 200
        way_out = "add --prior mixture or --prior vamp"
        require(mixes, "prior_components", self.prior_components, f"a {self.prior} prior has none", way_out)
        flows = self.prior == "flow" or self.prior_layers == 4
        require(flows, "prior_layers", self.prior_layers, f"a {self.prior} prior has none", "add --prior flow")
        rule = "encodes its pseudo-images beside the images, and batch norm lets images mix"
        mixed = self.prior == "vamp" and self.tower == "conv" and self.norm == "batch"
        require(not mixed, "prior", self.prior, rule, "add --norm none, or take --prior flow")
        rule = "has pseudo-images without a condition, and this model's encoder is given one"
        conditional = self.prior == "vamp" and bool(getattr(self, "condition", ""))
        require(not conditional, "prior", self.prior, rule, "take --prior flow or mixture")


@member("vae", "morphospace.zoo.vae:VAE", "Kingma & Welling 2014; Higgins et al. 2017 (beta)")
@dataclass(frozen=True, kw_only=True)
class VAESettings(PriorSettings):
    """Variational autoencoder, trained on the evidence lower bound in nats per image.

    Attributes:
        beta: Weight of the KL term; 1 is the ELBO.
        kl: The KL term in `closed` form (of a learned prior the entropy alone), `sampled`: log q(z | x) - log p(z) of
            each sampled code, or `path`: the same without the gradient of log q by its own parameters, whose mean is 0
            and whose noise does not vanish when q is right (Roeder et al. 2017, "Sticking the landing").
        draws: Number of codes sampled for each image; the bound is averaged over them.
        kl_warmup_images: The KL weight rises linearly from 0 over this many images.
        kl_reduction: `sum` over latent dimensions (nats), or `mean` over them as in some published recipes.
        free_bits: KL of each latent dimension, in nats, that costs nothing: a remedy for posterior collapse (Kingma et
            al. 2016); 0 for none.
        capacity: Replace the weighted KL by capacity_weight * |KL - C|, where C rises linearly from 0 to this many nats
            (Burgess et al. 2018); 0 for off.
        capacity_weight: Weight of the distance between KL and capacity.
        capacity_images: The capacity rises over this many images; with 0 it is reached at the start.
    """

    beta: Annotated[float, Below(0, 1e6), AgainstCollapse("a lower {flag}"), TowardsPrior()] = 1.0
    kl: Literal["closed", "sampled", "path"] = "closed"
    draws: Annotated[int, Between(1, 10_000)] = 1
    kl_warmup_images: Annotated[int, AtLeast(0), AgainstCollapse()] = 0
    kl_reduction: Literal["sum", "mean"] = "sum"
    free_bits: Annotated[float, Below(0, 100), AgainstCollapse()] = 0.0
    capacity: Annotated[float, Below(0, 1e5)] = 0.0
    capacity_weight: Annotated[float, Inside(0, 1e6)] = 1000.0
    capacity_images: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = not self.free_bits or (self.kl == "closed" and not self.capacity and self.prior == "normal")
        rule, way_out = "needs the KL of each unit", "use --kl closed, --prior normal, and no --capacity"
        require(allowed, "free_bits", self.free_bits, rule, way_out)
        allowed = not self.capacity or (self.beta == 1 and not self.kl_warmup_images and self.kl_reduction == "sum")
        rule, way_out = "takes the place of the weighted KL", "leave out --beta, --kl-warmup-images and --kl-reduction"
        require(allowed, "capacity", self.capacity, rule, way_out)
        rule, way_out = "there is no capacity that could rise", "add --capacity"
        require(bool(self.capacity) or not self.capacity_images, "capacity_images", self.capacity_images, rule, way_out)

    def beta_in_nats(self, values: int) -> float:
        """Return the beta of the equivalent bound in nats, for images of `values` numbers; see `in_nats`.

        A mean over latent dimensions divides the KL by their number.
        """
        beta = self.in_nats(self.beta, values)
        return beta / self.latent_dim if self.kl_reduction == "mean" else beta


@member("iwae", "morphospace.zoo.iwae:IWAE", "Burda et al. 2016; Tucker et al. 2019 (DReG)")
@dataclass(frozen=True, kw_only=True)
class IWAESettings(PriorSettings):
    """Importance-weighted autoencoder: a tighter bound from several codes of each image.

    Attributes:
        samples: Number K of codes sampled for each image; 1 is a VAE.
        gradient: `iwae` for the bound's own gradient, `dreg` for the encoder's doubly reparameterised one, which has
            the same mean and a smaller variance.
    """

    samples: Annotated[int, Between(1, 10_000)] = 5
    gradient: Literal["iwae", "dreg"] = "iwae"

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = "importance weights need the likelihood of the whole image"
        require(self.reduction == "sum", "reduction", self.reduction, rule, "use --reduction sum")


@member("cvae", "morphospace.zoo.cvae:CVAE", "Sohn, Lee & Yan 2015")
@dataclass(frozen=True, kw_only=True)
class CVAESettings(VAESettings):
    """Conditional VAE: encoder and decoder are given an image's class or attributes, and you can sample by them.

    Attributes:
        condition: What the model is given: `label`, or `attributes:NAME,NAME`.
    """

    condition: str = "label"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.condition), "condition", self.condition, "must be 'label' or 'attributes:NAME,NAME'")


@member("factor-vae", "morphospace.zoo.factor_vae:FactorVAE", "Kim & Mnih 2018")
@dataclass(frozen=True, kw_only=True)
class FactorVAESettings(VAESettings):
    """VAE with independent latent dimensions: a critic of codes estimates their total correlation, which is penalised.

    Attributes:
        gamma: Weight of the total correlation.
        critic_widths: Units of the critic's hidden layers.
        critic_lr: The critic's learning rate.
    """

    small_set_batch: ClassVar[int] = 128  # a total correlation is estimated from a batch, and badly from a small one

    gamma: Annotated[float, Below(0, 1e6)] = 10.0
    critic_widths: Annotated[tuple[Annotated[int, AtLeast(1)], ...], Role.FIT] = (1000, 1000, 1000, 1000, 1000)
    critic_lr: Annotated[float, Role.FIT, Above(0, 10)] = 1e-4


@member("beta-tcvae", "morphospace.zoo.beta_tcvae:BetaTCVAE", "Chen et al. 2018")
@dataclass(frozen=True, kw_only=True)
class BetaTCVAESettings(AESettings):
    """VAE whose KL is split in three terms with a weight each; the total correlation weighs most.

    Attributes:
        alpha: Weight of the information between images and codes.
        beta: Weight of the total correlation.
        gamma: Weight of the distance of each latent dimension from the prior.
        sampling: How the codes' distribution is estimated from a batch: `weighted` as in the paper's experiments, or
            `stratified`, which is unbiased.
    """

    small_set_batch: ClassVar[int] = 128  # as for factor-vae

    likelihood: Likelihoods = "bernoulli"
    alpha: Annotated[float, Below(0, 1e6)] = 1.0
    beta: Annotated[float, Below(0, 1e6), AgainstCollapse("a lower {flag}")] = 6.0
    gamma: Annotated[float, Below(0, 1e6), TowardsPrior()] = 1.0
    sampling: Literal["weighted", "stratified"] = "weighted"


@member("mask-vae", "morphospace.zoo.mask_vae:MaskVAE", "Kingma & Welling 2014, with a second decoder")
@dataclass(frozen=True, kw_only=True)
class MaskVAESettings(VAESettings):
    """VAE of images with masks: one encoder, one decoder for the image within the mask, one for the mask.

    Attributes:
        mask_weight: Weight of the mask's cross-entropy; 1 is the bound.
        outside: Grey level outside the mask where an image is painted, from 0 for black to 1 for white.
    """

    mask_weight: Annotated[float, Inside(0, 1e6)] = 1.0
    outside: Annotated[float, Between(0, 1)] = 0.0
