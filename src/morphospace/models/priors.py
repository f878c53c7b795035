"""Priors p(z): densities of codes, and maps to codes from standard normal noise.

They are maps so that sample 17 of a seed is the same at any batch size. Three kinds: N(0, I), priors that are learned
together with a model, and priors that are fitted afterwards to the codes of training images.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.models.distributions import DiagonalGaussian, full

ROWS = 512  # rows at once in a product with a factor, which needs rows x D x D numbers


class Sampler(Protocol):
    """A map from standard normal noise to codes, (N, D) to (N, D).

    With a truncation t the codes lie t times as far from their mean, z = m + t (z' - m): of a mixture, from the mean of
    their component. A flow has no such mean: there the noise is multiplied by t.
    """

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor: ...


class Prior(Sampler, Protocol):
    """p(z), as a map from standard normal noise and as a density."""

    def log_prob(self, z: Tensor) -> Tensor: ...


def normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) of codes (..., D), summed over dimensions, (...)."""
    return -0.5 * (z * z + math.log(2 * math.pi)).sum(-1)


class Normal:
    """The standard normal prior, N(0, I)."""

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return the noise itself, times the truncation."""
        return noise * truncation

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; 0, I) of codes (..., D), (...)."""
        return normal_log_prob(z)


def transformed(noise: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Return mean + L noise for noise (N, D)."""
    # A sum of products rather than a matrix product, whose rounding depends on the batch size.
    factor = factor.to(noise)
    parts = [(part.unsqueeze(-2) * factor).sum(-1) for part in noise.split(ROWS)]
    return mean.to(noise) + torch.cat(parts)


def gaussian_log_prob(z: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Return log N(z; mean, L L^T) of codes (N, D), (N,)."""
    whitened = torch.linalg.solve_triangular(factor.to(z), (z - mean.to(z)).T, upper=False).T
    return normal_log_prob(whitened) - factor.to(z).diagonal().log().sum()


def mixture_log_prob(z: Tensor, logits: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """Return log sum_k softmax(logits)_k N(z; means_k, diag(exp(log_variances_k))) of codes (N, D), (N,)."""
    # |z - m|^2 / s^2 multiplied out: two products of matrices in place of a tensor (N, K, D). In float32 the
    # differences of large squares would cost up to half a nat where components are sharp. MPS has nothing finer.
    given, exact = z.dtype, z.dtype if z.device.type == "mps" else torch.float64
    z, logits, means, log_variances = (each.to(exact) for each in (z, logits, means, log_variances))
    rates = (-log_variances).exp()
    squared = (z * z) @ rates.T - 2 * z @ (means * rates).T + (means * means * rates).sum(1)
    constant = log_variances.sum(1) + z.shape[1] * math.log(2 * math.pi)
    return torch.logsumexp(functional.log_softmax(logits, 0) - 0.5 * (squared + constant), 1).to(given)


def cholesky(covariance: Tensor) -> Tensor:
    """Return the lower factor of covariances (..., D, D), in float64.

    A ridge of 1e-6 of the mean variance allows codes that do not vary in some direction: an inactive unit, or fewer
    codes than dimensions.
    """
    ridge = 1e-6 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype)
    return torch.linalg.cholesky(covariance + ridge[..., None, None] * eye)


class FittedGaussian:
    """A Gaussian fitted to codes, N(mean, L L^T), from which a plain autoencoder can sample.

    Args:
        mean: (D,), the codes' mean.
        factor: (D, D), the lower Cholesky factor L of their covariance.
    """

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        self.mean, self.factor = mean, factor

    @classmethod
    def fit(cls, codes: Tensor) -> FittedGaussian:
        """Fit to codes (N, D) by their mean and covariance (divided by N - 1), in float64."""
        if len(codes) < 2:
            raise SettingError("codes", len(codes), "a Gaussian prior needs at least 2 codes", "use more images")
        codes = codes.double()
        covariance = torch.atleast_2d(torch.cov(codes.T))
        return cls(codes.mean(0).float(), cholesky(covariance).float())

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that `prior_of` builds it from."""
        return {"mean": self.mean, "factor": self.factor}

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return mean + truncation L noise for noise (N, D)."""
        return transformed(noise * truncation, self.mean, self.factor)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; mean, L L^T) of codes (N, D), (N,)."""
        return gaussian_log_prob(z, self.mean, self.factor)


class FittedMixture:
    """A mixture of Gaussians with full covariances, fitted to codes.

    With ten components plain autoencoders sample as well as VAEs (Ghosh et al. 2020, "From variational to deterministic
    autoencoders").

    Args:
        weights: (K,), float64, sum one.
        means: (K, D).
        factors: (K, D, D), lower Cholesky factors of the covariances.
    """

    components = 10
    codes_a_component = 20

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        self.weights, self.means, self.factors = weights, means, factors

    @classmethod
    def fit(cls, codes: Tensor) -> FittedMixture:
        """Fit to codes (N, D) by expectation maximisation from a fixed start, in float64.

        Ten components, or fewer where there are under twenty codes for each.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        if len(codes) < 2:
            raise SettingError("codes", len(codes), "a mixture prior needs at least 2 codes", "use more images")
        values = codes.double().numpy()
        count = max(1, min(cls.components, len(codes) // cls.codes_a_component))
        ridge = max(1e-6 * float(values.var(0).mean()), 1e-12)
        mixture = GaussianMixture(count, reg_covar=ridge, random_state=0)
        with warnings.catch_warnings():
            # Not at the optimum after 100 rounds, or fewer distinct codes than components: it still is a prior.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(values)
        factors = cholesky(torch.from_numpy(mixture.covariances_))
        weights, means = torch.from_numpy(mixture.weights_), torch.from_numpy(mixture.means_)
        return cls(weights, means.float(), factors.float())

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that `prior_of` builds it from."""
        return {"weights": self.weights, "means": self.means, "factors": self.factors}

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D), which depends on that row alone."""
        component, fresh = components_of(noise, self.weights)
        fresh = fresh * truncation
        codes = torch.empty_like(fresh)
        for k in component.unique().tolist():
            rows = component == k
            codes[rows] = transformed(fresh[rows], self.means[k], self.factors[k])
        return codes

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log sum_k w_k N(z; m_k, L_k L_k^T) of codes (N, D), (N,)."""
        parts = zip(self.weights.tolist(), self.means, self.factors)
        each = [gaussian_log_prob(z, mean, factor) + math.log(max(weight, 1e-300)) for weight, mean, factor in parts]
        return torch.stack(each).logsumexp(0)


def components_of(noise: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Choose a component of a mixture for each row of noise (N, D), by that row alone.

    The first number of a row chooses: u = Phi(noise) is uniform. It falls into component k's share of [0, 1), and its
    place within that share is uniform again and independent of k.

    Returns:
        The components (N,), and standard normal noise (N, D) that is independent of them.
    """
    component, first = (_by_row if noise.device.type == "cpu" else _at_once)(noise[:, 0], weights.double())
    return component, torch.cat([first.to(noise)[:, None], noise[:, 1:]], 1)


def _by_row(numbers: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Choose one by one, for the CPU: a vectorised Phi may round a number differently in another batch there."""
    normal, rest, chosen = NormalDist(), [], []
    ends = weights.cumsum(0).tolist()
    for value in numbers.tolist():
        u = normal.cdf(value)
        k = next((i for i, end in enumerate(ends[:-1]) if u < end), len(ends) - 1)
        start = ends[k - 1] if k else 0.0
        within = (u - start) / max(ends[k] - start, 1e-12)
        chosen.append(k)
        rest.append(normal.inv_cdf(min(max(within, 1e-9), 1 - 1e-9)))
    return torch.tensor(chosen), torch.tensor(rest)


def _at_once(numbers: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Choose on an accelerator, which then waits for nothing."""
    u, ends = torch.special.ndtr(numbers.double()), weights.to(numbers.device).cumsum(0)
    starts = torch.cat([torch.zeros_like(ends[:1]), ends[:-1]])
    component = torch.searchsorted(starts[1:].contiguous(), u, right=True)
    within = (u - starts[component]) / (ends - starts)[component].clamp(min=1e-12)
    return component, torch.special.ndtri(within.clamp(1e-9, 1 - 1e-9))


class LearnedPrior(nn.Module):
    """Base of the priors that are learned together with a model: a prior that is a network."""

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D)."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (N, D), (N,)."""
        # In half precision the differences of large squares would be lost.
        with torch.autocast(z.device.type, enabled=False):
            return self.density(full(z))

    def density(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (N, D), (N,), in float32 at least."""
        raise NotImplementedError

    def start_from(self, images: Tensor) -> None:
        """Set what begins at training images (N, C, H, W), in the model's range; most priors begin without any."""


class MixturePrior(LearnedPrior):
    """sum_k w_k N(z; m_k, diag(s_k^2)), all of it learned.

    Args:
        dim: Latent dimensions D.
        components: Number K of Gaussians.
    """

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(0.8 * torch.randn(components, dim))
        self.log_variances = nn.Parameter(torch.full((components, dim), -0.5))

    def density(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (N, D), (N,)."""
        return mixture_log_prob(z, self.logits, self.means, self.log_variances)

    @torch.no_grad()
    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D), which depends on that row alone."""
        component, fresh = components_of(noise, self.logits.softmax(0))
        deviation = (0.5 * self.log_variances[component]).exp().to(noise)
        return self.means[component].to(noise) + deviation * (fresh * truncation)


class VampPrior(LearnedPrior):
    """1 / K sum_k q(z | u_k): the mean posterior of K learned pseudo-images (Tomczak & Welling 2018, "VAE with a
    VampPrior").

    Args:
        encode: The model's encoder, which gives the posterior of images.
        shape: (H, W, C) of the images.
        components: Number K of pseudo-images.
        signed: Whether images are in [-1, 1].
    """

    def __init__(
        self, encode: Callable[[Tensor], DiagonalGaussian], shape: tuple[int, int, int], components: int, signed: bool
    ) -> None:
        super().__init__()
        # A bare function: as a module the encoder would be saved, counted and averaged a second time.
        self.encode, self.signed = encode, signed
        self.logits = nn.Parameter(torch.randn(components, shape[2], *shape[:2]))

    @torch.no_grad()
    def start_from(self, images: Tensor) -> None:
        """Begin at training images, spread over those given, which may be in the order of their classes.

        Each is softened so that every pixel can move.
        """
        spread = torch.linspace(0, len(images) - 1, min(len(images), len(self.logits))).round().long()
        unit = (images[spread] + 1) / 2 if self.signed else images[spread]
        self.logits[: len(unit)] = torch.logit(unit.to(self.logits).clamp(0.02, 0.98))

    def posterior(self) -> DiagonalGaussian:
        """Return the posteriors of the pseudo-images."""
        unit = self.logits.sigmoid()
        return self.encode(2 * unit - 1 if self.signed else unit)

    def density(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (N, D), (N,)."""
        each = self.posterior()
        return mixture_log_prob(z, z.new_zeros(len(each.mean)), each.mean, each.log_variance)

    @torch.no_grad()
    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D), which depends on that row alone."""
        each = self.posterior()
        component, fresh = components_of(noise, torch.full((len(each.mean),), 1 / len(each.mean), device=noise.device))
        deviation = (0.5 * each.log_variance[component]).exp().to(noise)
        return each.mean[component].to(noise) + deviation * (fresh * truncation)


class FlowPrior(LearnedPrior):
    """N(f(z); 0, I) |det df/dz|, f a chain of affine couplings (Dinh, Sohl-Dickstein & Bengio 2017, "Real NVP").

    A coupling keeps every other unit, and scales and shifts the rest by functions of those: y = z exp(s) + t. Log
    scales are bounded by 2 tanh, and the last layers begin at 0, so that a new flow is N(0, I).

    Args:
        dim: Latent dimensions D; with one there is nothing to couple and each step scales and shifts by constants.
        layers: Number of couplings.
        width: Units of the two hidden layers of each.
    """

    mask: Tensor
    bound = 2.0

    def __init__(self, dim: int, layers: int, width: int = 128) -> None:
        super().__init__()
        self.couplings = nn.ModuleList()
        for _ in range(layers):
            last = nn.Linear(width, 2 * dim)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            hidden = (nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
            self.couplings.append(nn.Sequential(*hidden, last))
        self.register_buffer("mask", (torch.arange(dim) % 2 == 0).float())

    def _parts(self, number: int, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log scale and shift (N, D) of a coupling, 0 for the units that it keeps."""
        kept = self.mask if number % 2 == 0 else 1 - self.mask
        shift, scale = full(self.couplings[number](z * kept)).chunk(2, 1)
        return self.bound * torch.tanh(scale) * (1 - kept), shift * (1 - kept)

    def density(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (N, D), (N,)."""
        volume = z.new_zeros(len(z))
        for number in range(len(self.couplings)):
            scale, shift = self._parts(number, z)
            z, volume = z * scale.exp() + shift, volume + scale.sum(1)
        return normal_log_prob(z) + volume

    def forward(self, noise: Tensor) -> Tensor:
        """Return f^-1 of noise (N, D)."""
        for number in reversed(range(len(self.couplings))):
            scale, shift = self._parts(number, noise)
            noise = (noise - shift) * (-scale).exp()
        return noise

    @torch.no_grad()
    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D).

        In float64, so that what a matrix product rounds differently in another batch is gone in float32.
        """
        exact = {name: value.double() for name, value in (*self.named_parameters(), *self.named_buffers())}
        parts = [functional_call(self, exact, (part.double(),)) for part in (noise * truncation).split(ROWS)]
        return torch.cat(parts).to(noise)


class FittedFlow:
    """A flow fitted to codes by maximum likelihood, after they were brought to mean 0 and deviation 1.

    Args:
        tensors: The flow's weights by name, and `mean` and `deviation` (D,) of the codes.
    """

    layers, width = 6, 128
    steps, batch, rate = 2000, 256, 2e-3

    def __init__(self, **tensors: Tensor) -> None:
        self.mean, self.deviation = tensors["mean"], tensors["deviation"]
        self.flow = FlowPrior(len(self.mean), self.layers, self.width)
        self.flow.load_state_dict({name: value for name, value in tensors.items() if "." in name or name == "mask"})

    @classmethod
    def fit(cls, codes: Tensor) -> FittedFlow:
        """Fit to codes (N, D), of which a tenth decides which step was the best."""
        if len(codes) < 20:
            way_out = "use more images, or --prior gaussian"
            raise SettingError("codes", len(codes), "a flow prior needs at least 20 codes", way_out)
        mean, deviation = codes.mean(0), codes.std(0).clamp(min=1e-6)
        values = (codes - mean) / deviation
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            flow = FlowPrior(codes.shape[1], cls.layers, cls.width)
            values = values[torch.randperm(len(values))]
            judged, learned = values[: len(values) // 10], values[len(values) // 10 :]
            optimizer = torch.optim.Adam(flow.parameters(), lr=cls.rate)
            best, kept = math.inf, {}
            for step in range(cls.steps + 1):
                if step % 100 == 0:
                    with torch.no_grad():
                        loss = float(-flow.log_prob(judged).mean())
                    if loss < best:
                        best, kept = loss, {name: value.clone() for name, value in flow.state_dict().items()}
                optimizer.param_groups[0]["lr"] = cls.rate * 0.5 * (1 + math.cos(math.pi * step / cls.steps))
                batch = learned[torch.randint(len(learned), (cls.batch,))]
                # Noise of a tenth of a deviation: a flow would else grow spikes on the codes that it has seen.
                loss_of_batch = -flow.log_prob(batch + 0.1 * torch.randn_like(batch)).mean()
                optimizer.zero_grad()
                loss_of_batch.backward()
                nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
                optimizer.step()
        return cls(mean=mean, deviation=deviation, **kept)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that `prior_of` builds it from."""
        return {"mean": self.mean, "deviation": self.deviation, **self.flow.state_dict()}

    def from_noise(self, noise: Tensor, truncation: float = 1.0) -> Tensor:
        """Return a code for each row of noise (N, D)."""
        codes = self.flow.to(noise.device).from_noise(noise, truncation)
        return self.mean.to(noise) + self.deviation.to(noise) * codes

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (N, D), (N,)."""
        values = (z - self.mean.to(z)) / self.deviation.to(z)
        return self.flow.to(z.device).log_prob(values) - self.deviation.to(z).log().sum()


Fitted = FittedGaussian | FittedMixture | FittedFlow
FITTED: dict[str, type[FittedGaussian] | type[FittedMixture] | type[FittedFlow]] = {
    "gaussian": FittedGaussian,
    "mixture": FittedMixture,
    "flow": FittedFlow,
}


def fit_prior(kind: str, codes: Tensor) -> Fitted:
    """Fit a prior of a kind, `gaussian`, `mixture` or `flow`, to codes (N, D)."""
    return FITTED[kind].fit(codes)


def prior_of(kind: str, tensors: Mapping[str, Tensor]) -> Fitted:
    """Return the fitted prior that was saved as `tensors`."""
    return FITTED[kind](**tensors)
