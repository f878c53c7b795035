"""Bounds against a model whose likelihood is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.evaluation.intervals import mean_interval
from morphospace.evaluation.likelihood import (
    RunningLogSumExp,
    density_of,
    evidence_bound,
    importance_bound,
    log_likelihood,
)
from morphospace.models import priors
from morphospace.models.distributions import DiagonalGaussian, Point
from morphospace.models.likelihoods import Bernoulli, Gaussian, Likelihood, likelihood_for

TRUTH, ELBO, FIVE = -1.5155121235, -1.6689385332, -1.53254


class Normal(Likelihood):
    """N(raw, 1)."""

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        return -0.5 * ((images - raw) ** 2 + math.log(2 * math.pi))


class LinearGaussian:
    """p(z) = N(0, 1), p(x | z) = N(z, 1), q(z | x) = N(x / 2, variance); the posterior's variance is 1/2."""

    def __init__(self, variance: float = 1.0) -> None:
        self.likelihood, self.variance, self.largest = Normal(), variance, 0
        self.prior = priors.Normal()

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian:
        mean = images.flatten(1) / 2
        return DiagonalGaussian(mean, torch.full_like(mean, math.log(self.variance)))

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        self.largest = max(self.largest, len(z))
        return z.view(-1, 1, 1, 1)


def ones(count: int) -> Tensor:
    return torch.ones(count, 1, 1, 1, dtype=torch.float64)


def test_the_worked_example() -> None:
    many = evidence_bound(LinearGaussian(), ones(400), draws=1000)
    assert float(many.kl.mean()) == pytest.approx(0.125)
    assert float(many.values.mean()) == pytest.approx(ELBO, abs=0.01)
    five = importance_bound(LinearGaussian(), ones(60_000), 5)
    assert float(five.values.mean()) == pytest.approx(FIVE, abs=0.003)
    assert float(five.elbo.mean()) == pytest.approx(ELBO, abs=0.01)
    much = importance_bound(LinearGaussian(), ones(20), 5000)
    assert float(much.values.mean()) == pytest.approx(TRUTH, abs=0.005)
    assert 1000 < float(much.effective_samples.mean()) < 5000


def test_an_exact_posterior_has_no_variance() -> None:
    images = torch.linspace(-3, 3, 7, dtype=torch.float64).view(-1, 1, 1, 1)
    bound = importance_bound(LinearGaussian(0.5), images, 3)
    truth = stats.norm(0, math.sqrt(2)).logpdf(images.numpy().ravel())
    assert np.allclose(bound.values.numpy(), truth, atol=1e-6)
    assert np.allclose(bound.effective_samples.numpy(), 3, atol=1e-5)


def test_neither_chunk_nor_batch_nor_start_changes_a_bound_and_memory_is_flat() -> None:
    model, images = LinearGaussian(), torch.randn(10, 1, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    whole = importance_bound(model, images, 100, chunk=100_000)
    assert model.largest == 1000
    model.largest = 0
    for chunk in (1, 7, 33, 100, 250):
        parts = importance_bound(model, images, 100, chunk=chunk)
        assert torch.allclose(parts.values, whole.values, atol=1e-6) and model.largest <= chunk
        assert torch.allclose(parts.effective_samples, whole.effective_samples, rtol=1e-5)
    later = importance_bound(model, images[4:], 100, start=4)
    assert torch.allclose(later.values, whole.values[4:], atol=1e-6)
    assert not torch.allclose(importance_bound(model, images, 100, seed=1).values, whole.values, atol=1e-3)
    few = evidence_bound(model, images, draws=10, chunk=3)
    assert torch.allclose(few.values, evidence_bound(model, images, draws=10).values, atol=1e-6)


def test_a_running_sum_far_below_what_exp_can_hold() -> None:
    values = np.random.default_rng(0).normal(-2000, 50, (3, 1000))
    total = RunningLogSumExp(3)
    for part in np.array_split(values, 7, axis=1):
        total.add(torch.from_numpy(part))
    assert np.allclose(total.value().numpy(), special.logsumexp(values, axis=1), atol=1e-10)
    empty = RunningLogSumExp(1)
    empty.add(torch.tensor([[-math.inf, -math.inf]]))
    assert float(empty.value()) == -math.inf
    empty.add(torch.tensor([[-5.0]]))
    assert float(empty.value()) == pytest.approx(-5)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "discretised-logistic", "continuous-bernoulli"])
@pytest.mark.parametrize("count", [1, 3])
def test_log_likelihoods_of_several_draws_are_those_of_each(kind: str, count: int) -> None:
    likelihood = likelihood_for(kind).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 2, 4, 4, generator=generator).mul(255).round() / 255
    raw = torch.randn(count * 5, 2 * likelihood.outputs_per_value, 4, 4, generator=generator)
    quick = log_likelihood(likelihood, raw, images)
    slow = [[float(likelihood.log_prob(raw[i * 5 + j][None], images[i][None])) for j in range(5)] for i in range(count)]
    assert np.allclose(quick.numpy(), slow, rtol=1e-4)


def test_what_the_nats_are_of() -> None:
    assert density_of(Bernoulli(), binary=True).proper and density_of(Bernoulli(), binary=True).bits
    grey = density_of(Bernoulli())
    assert not grey.proper and "cross-entropy" in grey.words
    gaussian = Gaussian(False, "fixed", 1.0)
    assert density_of(gaussian).proper and not density_of(gaussian).bits
    assert density_of(gaussian, dequantised=True).bits
    assert density_of(likelihood_for("categorical")).bits
    assert not density_of(likelihood_for("squared-error")).proper


def test_refusals() -> None:
    with pytest.raises(SettingError, match="k = 0"):
        importance_bound(LinearGaussian(), ones(1), 0)
    with pytest.raises(SettingError, match="at least one"):
        importance_bound(LinearGaussian(), ones(0), 5)
    points = LinearGaussian()
    points.encode = lambda images, condition=None: Point(images.flatten(1))  # type: ignore[assignment]
    with pytest.raises(SettingError, match="without uncertainty"):
        evidence_bound(points, ones(1))


def test_the_interval_holds_the_mean_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        _, low, high = mean_interval(torch.from_numpy(rng.normal(3, 2, 50)))
        assert low is not None and high is not None
        held += low < 3 < high
    assert 365 <= held <= 393
    assert mean_interval(torch.tensor([1.0])) == (1.0, None, None)
