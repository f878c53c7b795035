"""What a user may say about each autoencoder and VAE; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from morphospace.errors import require
from morphospace.zoo.registry import ModelSettings, member

__all__ = ["AESettings", "VAESettings"]


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
