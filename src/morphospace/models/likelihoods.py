"""Distributions of images given codes, from a decoder's raw output.

Every log density is in nats, one number an image: summed over its pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.models.distributions import full, per_image

LEVELS = 256


class Likelihood(nn.Module):
    """p(x | z): turns a decoder's raw output (B, K C, H, W) into a mean image and a log density.

    Attributes:
        outputs_per_value: Number K of decoder outputs for each value of the image.
        is_density: Whether exp(log_prob) sums or integrates to one.
        over_levels: Whether it is a mass over the 256 levels of 8-bit images, rather than a density.
        costly_mean: Whether the mean costs as much as the density, so that training does not compute it to report it.

    Args:
        signed: Whether pixels are in [-1, 1].
    """

    outputs_per_value = 1
    is_density = True
    over_levels = False
    costly_mean = False

    def __init__(self, signed: bool = False) -> None:
        super().__init__()
        self.signed = signed

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean image (B, C, H, W), in the range of the data."""
        raise NotImplementedError

    def start(self, images: Tensor) -> Tensor:
        """Return the raw output (K C, H, W) that fits images (N, C, H, W) best when it is the same for all of them.

        Here the one whose mean is the images' mean, by bisection; a mean at the limit of the range is taken as a
        thousandth from it.
        """
        low_end, width = (-1.0, 2.0) if self.signed else (0.0, 1.0)
        wanted = images.double().mean(0).clamp(low_end + 0.001 * width, low_end + 0.999 * width)
        # A continuous Bernoulli reaches a mean of .999 at a logit of 1000.
        low, high = torch.full_like(wanted, -2000.0), torch.full_like(wanted, 2000.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.mean(middle) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2).float()

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return log p of every value of the images, (B, C, H, W), in nats."""
        raise NotImplementedError

    def log_prob(self, raw: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log p(images | raw), (B,), in nats.

        Args:
            raw: The decoder's output.
            images: The data, (B, C, H, W).
            mask: (B, 1, H, W) in [0, 1], the weight of each pixel; 1 when None.
        """
        values = self.per_value(raw, images)
        return per_image(values if mask is None else values * mask)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Return images (B, C, H, W) sampled from p(x | raw), in the range of the data.

        Raises:
            SettingError: If it is no density.
        """
        way_out = "train with --likelihood gaussian, bernoulli or discretised-logistic"
        raise SettingError("likelihood", type(self).__name__, "is no density to sample images from", way_out)


def uniform_like(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return uniform noise in [0, 1) of the shape and type of `values`, made on the CPU."""
    return torch.rand(values.shape, generator=generator).to(values)


def gumbel_choice(logits: Tensor, dim: int, generator: torch.Generator) -> Tensor:
    """Return an index along `dim`, sampled from the softmax of logits, by Gumbel's trick."""
    uniform = uniform_like(logits, generator).clamp(1e-12, 1 - 1e-7)
    return (logits - (-uniform.log()).log()).argmax(dim)


class Bernoulli(Likelihood):
    """Independent Bernoulli pixels from logits; on grey pixels a cross-entropy, no density."""

    def mean(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(full(raw))

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        """Return x log p + (1 - x) log(1 - p), from logits, which cannot overflow."""
        return -functional.binary_cross_entropy_with_logits(full(raw), images, reduction="none")

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        mean = self.mean(raw)
        return (uniform_like(mean, generator) < mean).to(mean.dtype)


class ContinuousBernoulli(Bernoulli):
    """The Bernoulli's formula with the constant that makes it a density on [0, 1].

    log p = x log r + (1 - x) log(1 - r) + log C(r), C(r) = 2 atanh(1 - 2 r) / (1 - 2 r). From the logit l = logit(r)
    that is C = u / tanh(u) * 2 with u = l / 2 (Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli").
    """

    # Nearer to r = 1/2 than this the fractions are 0 / 0 or cancel; their series are exact to 1e-10.
    near = 0.1
    near_mean = 0.25

    def mean(self, raw: Tensor) -> Tensor:
        """Return r / (2 r - 1) + 1 / (2 atanh(1 - 2 r)) = 1/2 + (coth(u) - 1 / u) / 2."""
        u = 0.5 * full(raw)
        square = u * u
        series = u * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
        small = u.abs() < self.near_mean
        safe = u.masked_fill(small, 1.0)
        return (0.5 + 0.5 * torch.where(small, series, 1 / torch.tanh(safe) - 1 / safe)).clamp(0, 1)

    def log_normaliser(self, raw: Tensor) -> Tensor:
        """Return log C of every logit."""
        u = 0.5 * full(raw)
        square = u * u
        series = square * (1 / 3 - square * (7 / 90 - square * (62 / 2835)))
        small = u.abs() < self.near
        safe = u.abs().masked_fill(small, 1.0)
        return math.log(2) + torch.where(small, series, (safe / torch.tanh(safe)).log())

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        return super().per_value(raw, images) + self.log_normaliser(raw)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Invert F(x) = (e^(l x) - 1) / (e^l - 1); where l is near 0 it is uniform."""
        values = full(raw)
        uniform = uniform_like(values, generator)
        near = values.abs() < 1e-3
        logits = values.masked_fill(near, 1.0).clamp(-80, 80)
        return torch.where(near, uniform, torch.log1p(uniform * torch.expm1(logits)) / logits).clamp(0, 1)


class BoundedMean(Likelihood):
    """Base of the Gaussians: the mean is sigmoid(raw) for pixels in [0, 1] and tanh(raw) for [-1, 1]."""

    def mean(self, raw: Tensor) -> Tensor:
        return torch.tanh(full(raw)) if self.signed else torch.sigmoid(full(raw))

    def squared_error(self, raw: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the squared error, (B,), summed over pixels."""
        squared = (self.mean(raw) - images) ** 2
        return per_image(squared if mask is None else squared * mask)


class SquaredError(BoundedMean):
    """-||x - mean||^2, without a half: a Gaussian of variance 1/2 without its constant."""

    is_density = False

    def log_prob(self, raw: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
        return -self.squared_error(raw, images, mask)


class Gaussian(BoundedMean):
    """Independent Gaussian pixels with one variance for all of them.

    log p = -||x - mean||^2 / (2 s^2) - D/2 log(2 pi s^2), s^2 being `fixed`, `learned` by gradient, or `calibrated`
    to the mean squared error: while training the batch's own, which is where the density is largest, so that
    no gradient through s^2 is needed (Rybkin, Daniilidis & Levine 2021, "sigma-VAE"); otherwise its running mean.

    Args:
        signed: Whether pixels are in [-1, 1].
        variance: `fixed`, `learned` or `calibrated`.
        sigma: Standard deviation, fixed or initial.
    """

    # A standard deviation below that of rounding to 256 levels would only fit the rounding of the data.
    finest = 1 / (255 * math.sqrt(12))
    momentum = 0.1  # of the running variance, as in batch norm: its initial value is forgotten within 60 steps

    def __init__(self, signed: bool, variance: str, sigma: float) -> None:
        super().__init__(signed)
        self.kind = variance
        start = torch.tensor(2 * math.log(sigma))
        if variance == "learned":
            self.log_variance = nn.Parameter(start)
        else:
            self.register_buffer("log_variance", start)

    def log_prob(self, raw: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
        squared = self.squared_error(raw, images, mask)
        # Number of values that count: all of an image, or those within its mask, (B,).
        values: float | Tensor = images[0].numel() if mask is None else images.shape[1] * per_image(mask)
        log_variance = self.log_variance.to(squared.dtype)
        if self.kind == "calibrated" and self.training:
            log_variance = self.calibrate(squared.detach().mean(), values)
        log_variance = log_variance.clamp(min=2 * math.log(self.finest))
        return -0.5 * (squared * (-log_variance).exp() + values * (log_variance + math.log(2 * math.pi)))

    @torch.no_grad()
    def calibrate(self, squared: Tensor, values: float | Tensor) -> Tensor:
        """Return the batch's own log variance, and move the running one towards it."""
        each = values.mean().clamp(min=1.0) if isinstance(values, Tensor) else values
        log_variance = (squared / each).clamp(min=self.finest**2).log()
        # In logarithms: the error falls by orders of magnitude during training.
        self.log_variance.lerp_(log_variance.to(self.log_variance.dtype), self.momentum)
        return log_variance

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        mean = self.mean(raw)
        sigma = (0.5 * self.log_variance.to(mean.dtype)).exp().clamp(min=self.finest)
        return mean + sigma * torch.randn(mean.shape, generator=generator).to(mean)


def level_of(images: Tensor, signed: bool) -> Tensor:
    """Return the level 0 to 255 of every value of 8-bit images, as floating point."""
    return ((images + 1) * 127.5 if signed else images * 255).round()


def images_of(levels: Tensor, signed: bool) -> Tensor:
    """Return the images whose values have the levels 0 to 255."""
    return levels / 127.5 - 1 if signed else levels / 255


def clipped_mean(location: Tensor, rate: Tensor) -> Tensor:
    """Return the mean of a logistic variable clipped to [-1, 1], within half a level of the mean of its levels.

    E = -1 + s (softplus((m + 1) / s) - softplus((m - 1) / s)).
    """
    upper, lower = functional.softplus((location + 1) * rate), functional.softplus((location - 1) * rate)
    return ((upper - lower) / rate - 1).clamp(-1, 1)


def log_mass(level: Tensor, location: Tensor, rate: Tensor) -> Tensor:
    """Return the log mass of levels 0 to 255 under logistics of these locations in [-1, 1] and rates 1 / s.

    F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)) for a < b: a product, in which nothing cancels.
    """
    centred = level / 127.5 - 1 - location
    half = 0.5 / 127.5
    below = functional.logsigmoid((centred + half) * rate)
    above = functional.logsigmoid((half - centred) * rate)
    width = (-torch.expm1(-2 * half * rate)).log()
    first, last = level < 0.5, level > LEVELS - 1.5
    inner = torch.where(first, below, below + above + width)
    return torch.where(last, above, inner)


class DiscretisedLogistic(Likelihood):
    """A logistic distribution cut into 256 bins, location and scale predicted for every value.

    P(level k) = F(k + 1/2) - F(k - 1/2), F being the logistic's distribution function; the first bin reaches to
    minus and the last to plus infinity, so that the masses sum to one exactly (Kingma et al. 2016; Salimans et al.
    2017). The decoder gives two numbers a value: the location, 0 for mid-grey and +-1 for the limits of the range, and
    the log scale in the same unit. The location is not bounded: a certain black lies below the range.
    """

    outputs_per_value = 2
    over_levels = True
    finest = -7.0  # log scale: an eighth of a level, as published

    def start(self, images: Tensor) -> Tensor:
        """Return the location and log scale of a logistic with the images' mean and variance."""
        centred = images.double() if self.signed else 2 * images.double() - 1
        scale = centred.std(0, correction=0) * (math.sqrt(3) / math.pi)
        return torch.cat([centred.mean(0), scale.clamp(min=math.exp(self.finest)).log()]).float()

    def parameters_of(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and 1 / scale, in units of half the range."""
        location, log_scale = full(raw).chunk(2, 1)
        return location, (-log_scale.clamp(min=self.finest)).exp()

    def mean(self, raw: Tensor) -> Tensor:
        mean = clipped_mean(*self.parameters_of(raw))
        return mean if self.signed else 0.5 * (mean + 1)

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        return log_mass(level_of(images, self.signed), *self.parameters_of(raw))

    def choose_logistic(self, raw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return location and 1 / scale of the logistic that each value is sampled from."""
        return self.parameters_of(raw)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        location, rate = self.choose_logistic(raw, generator)
        uniform = uniform_like(location, generator).clamp(1e-7, 1 - 1e-7)
        logistic = (uniform.log() - torch.log1p(-uniform)) / rate
        return images_of(((location + logistic + 1) * 127.5).round().clamp(0, LEVELS - 1), self.signed)


class DiscretisedLogisticMixture(DiscretisedLogistic):
    """A mixture of discretised logistics for every value: weights, locations and scales predicted.

    A value may then be near one level or near another, not between them. Salimans et al. 2017, "PixelCNN++", without
    the dependence between the channels of a pixel that is modelled there.
    """

    components = 5
    outputs_per_value = 3 * components

    def start(self, images: Tensor) -> Tensor:
        """Return components of equal weight and scale, spread so that mean and variance are the images'."""
        location, log_scale = super().start(images).chunk(2)
        # At (2 k + 1) / K - 1, the locations have variance (1 - 1 / K^2) / 3 in units of the half width they cover.
        places = (2 * torch.arange(self.components) + 1) / self.components - 1
        spread = log_scale.exp() * math.pi / math.sqrt(3)  # the images' standard deviation, of which half a variance
        locations = location + spread * (places / places.std(correction=0) / math.sqrt(2))[:, None, None, None]
        scales = (log_scale - math.log(2) / 2).expand_as(locations)
        return torch.cat([torch.zeros_like(locations), locations, scales]).flatten(0, 1)

    def mixture_of(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights, locations and 1 / scales, (B, K, C, H, W) each."""
        logits, locations, log_scales = full(raw).unflatten(1, (3, self.components, -1)).unbind(1)
        return logits.log_softmax(1), locations, (-log_scales.clamp(min=self.finest)).exp()

    def mean(self, raw: Tensor) -> Tensor:
        log_weights, locations, rates = self.mixture_of(raw)
        mean = (log_weights.exp() * clipped_mean(locations, rates)).sum(1)
        return mean if self.signed else 0.5 * (mean + 1)

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        log_weights, locations, rates = self.mixture_of(raw)
        level = level_of(images, self.signed).unsqueeze(1)
        return torch.logsumexp(log_weights + log_mass(level, locations, rates), 1)

    def choose_logistic(self, raw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        log_weights, locations, rates = self.mixture_of(raw)
        chosen = gumbel_choice(log_weights, 1, generator).unsqueeze(1)
        location, rate = (values.gather(1, chosen).squeeze(1) for values in (locations, rates))
        return location, rate


class Categorical(Likelihood):
    """A separate probability for each of 256 levels of every value (van den Oord et al. 2016, PixelRNN)."""

    outputs_per_value = LEVELS
    over_levels = True
    costly_mean = True

    def start(self, images: Tensor) -> Tensor:
        """Return the logarithm of each level's frequency, one image of evenly spread levels counted in."""
        levels = level_of(images, self.signed).long().flatten(1)
        counts = torch.full((levels.shape[1], LEVELS), 1 / LEVELS, dtype=torch.float64)
        counts.scatter_add_(1, levels.T, torch.ones_like(levels.T, dtype=torch.float64))
        frequencies = (counts / counts.sum(1, keepdim=True)).log().float()
        # As `logits` reads them: the levels of one channel are C K channels in a row.
        return frequencies.view(*images.shape[1:], LEVELS).permute(0, 3, 1, 2).flatten(0, 1)

    def logits(self, raw: Tensor) -> Tensor:
        """Return the logits (B, H, W, C, 256), which is the memory order of channels-last raw images."""
        return full(raw).permute(0, 2, 3, 1).unflatten(3, (-1, LEVELS))

    def mean(self, raw: Tensor) -> Tensor:
        probabilities = self.logits(raw).softmax(-1)
        low = -1.0 if self.signed else 0.0
        levels = torch.linspace(low, 1.0, LEVELS, device=raw.device, dtype=probabilities.dtype)
        # Not a matrix product, which bfloat16 autocast would round to eight bits.
        return (probabilities * levels).sum(-1).clamp(low, 1.0).permute(0, 3, 1, 2)

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        levels = level_of(images, self.signed).permute(0, 2, 3, 1)
        logits = self.logits(raw).reshape(-1, LEVELS)
        nats = functional.cross_entropy(logits, levels.reshape(-1).long(), reduction="none")
        return -nats.view(levels.shape).permute(0, 3, 1, 2)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        levels = gumbel_choice(self.logits(raw), -1, generator).permute(0, 3, 1, 2)
        return images_of(levels.to(full(raw).dtype), self.signed)


def likelihood_for(kind: str, *, signed: bool = False, variance: str = "fixed", sigma: float = 1.0) -> Likelihood:
    """Return the likelihood that the settings name."""
    if kind == "gaussian":
        return Gaussian(signed, variance, sigma)
    kinds: dict[str, type[Likelihood]] = {
        "bernoulli": Bernoulli,
        "continuous-bernoulli": ContinuousBernoulli,
        "squared-error": SquaredError,
        "discretised-logistic": DiscretisedLogistic,
        "discretised-logistic-mixture": DiscretisedLogisticMixture,
        "categorical": Categorical,
    }
    return kinds[kind](signed)
