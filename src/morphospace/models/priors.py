"""Priors p(z) as maps from standard normal noise, so that sample 17 of a seed is the same at any batch size."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from statistics import NormalDist
from typing import Protocol

import torch
from torch import Tensor

from morphospace.errors import SettingError

ROWS = 512  # rows at once in a product with a factor, which needs rows x D x D numbers


class Prior(Protocol):
    """p(z), as a map from standard normal noise."""

    def from_noise(self, noise: Tensor) -> Tensor: ...


class Normal:
    """The standard normal prior, N(0, I)."""

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return the noise itself."""
        return noise


def transformed(noise: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Return mean + L noise for noise (N, D)."""
    # A sum of products rather than a matrix product, whose rounding depends on the batch size.
    factor = factor.to(noise)
    parts = [(part.unsqueeze(-2) * factor).sum(-1) for part in noise.split(ROWS)]
    return mean.to(noise) + torch.cat(parts)


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

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return mean + L noise for noise (N, D)."""
        return transformed(noise, self.mean, self.factor)


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

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return a code for each row of noise (N, D), which depends on that row alone.

        The first number of a row also chooses the component: u = Phi(noise) is uniform. It falls into component k's
        share of [0, 1), and its place within that share is uniform again and independent of k.
        """
        normal, rest, chosen = NormalDist(), [], []
        ends = self.weights.cumsum(0).tolist()
        # One by one: a vectorised Phi may round a row differently in another batch.
        for value in noise[:, 0].tolist():
            u = normal.cdf(value)
            k = next((i for i, end in enumerate(ends[:-1]) if u < end), len(ends) - 1)
            start = ends[k - 1] if k else 0.0
            within = (u - start) / max(ends[k] - start, 1e-12)
            chosen.append(k)
            rest.append(normal.inv_cdf(min(max(within, 1e-9), 1 - 1e-9)))
        fresh = torch.cat([torch.tensor(rest).to(noise)[:, None], noise[:, 1:]], 1)
        component, codes = torch.tensor(chosen, device=noise.device), torch.empty_like(fresh)
        for k in sorted(set(chosen)):
            rows = component == k
            codes[rows] = transformed(fresh[rows], self.means[k], self.factors[k])
        return codes


FITTED: dict[str, type[FittedGaussian] | type[FittedMixture]] = {"gaussian": FittedGaussian, "mixture": FittedMixture}


def fit_prior(kind: str, codes: Tensor) -> FittedGaussian | FittedMixture:
    """Fit a prior of a kind, `gaussian` or `mixture`, to codes (N, D)."""
    return FITTED[kind].fit(codes)


def prior_of(kind: str, tensors: Mapping[str, Tensor]) -> FittedGaussian | FittedMixture:
    """Return the fitted prior that was saved as `tensors`."""
    return FITTED[kind](**tensors)
