"""Densities against closed forms, Monte Carlo and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import Normal, kl_divergence

from morphospace.models.distributions import Bernoulli, DiagonalGaussian, Gaussian, SquaredError, likelihood_for


@given(st.floats(-4, 4), st.floats(-8, 4))
@settings(max_examples=50, deadline=None)
def test_kl_agrees_with_torch(mean: float, log_variance: float) -> None:
    q = DiagonalGaussian(torch.full((2, 3), mean).double(), torch.full((2, 3), log_variance).double())
    sigma = math.exp(log_variance / 2)
    expected = 3 * float(kl_divergence(Normal(mean, sigma), Normal(0.0, 1.0)))
    assert q.kl().tolist() == pytest.approx([expected] * 2, rel=1e-5, abs=1e-6)


def test_kl_agrees_with_monte_carlo_and_log_prob_with_scipy() -> None:
    torch.manual_seed(0)
    q = DiagonalGaussian(torch.tensor([[0.5, -1.0]]).double(), torch.tensor([[-1.0, 0.7]]).double())
    z = q.sample(torch.randn(400_000, 2).double())
    prior = stats.norm.logpdf(z.numpy()).sum(1)
    assert float(q.kl()) == pytest.approx(float((q.log_prob(z).numpy() - prior).mean()), abs=0.01)
    expected = stats.norm.logpdf(z[:5].numpy(), [0.5, -1.0], np.exp([-0.5, 0.35])).sum(1)
    assert q.log_prob(z[:5]).numpy() == pytest.approx(expected)


def test_a_nearly_collapsed_unit_keeps_its_tiny_kl() -> None:
    """In float32, exp(v) - 1 - v is rounding noise for small v; expm1 is not."""
    q = DiagonalGaussian(torch.zeros(1, 1), torch.full((1, 1), 1e-3))
    assert float(q.kl()) == pytest.approx((math.expm1(1e-3) - 1e-3) / 2, rel=0.05)


def test_absurd_log_variances_stay_finite() -> None:
    q = DiagonalGaussian.from_parameters(torch.tensor([[0.0, 1e4], [0.0, -1e4]]))
    assert torch.isfinite(q.kl()).all()


def test_bernoulli_sums_to_one_over_all_binary_images() -> None:
    raw = torch.randn(1, 1, 2, 2).double()
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().view(16, 1, 2, 2)
    log_prob = Bernoulli().log_prob(raw.expand(16, 1, 2, 2), images)
    assert float(log_prob.exp().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("variance", ["fixed", "learned", "calibrated"])
def test_gaussian_agrees_with_scipy_and_integrates_to_one(variance: str, signed: bool) -> None:
    likelihood = Gaussian(signed, variance, 0.4).eval().double()
    raw = torch.randn(1, 1, 1, 1).double()
    x = np.linspace(-4, 5, 2001)
    grid = torch.from_numpy(x).view(-1, 1, 1, 1)
    log_prob = likelihood.log_prob(raw.expand(2001, 1, 1, 1), grid).detach().numpy()
    mean = float(likelihood.mean(raw))
    assert log_prob == pytest.approx(stats.norm.logpdf(x, mean, 0.4), rel=1e-5, abs=1e-5)
    assert np.trapezoid(np.exp(log_prob), x) == pytest.approx(1.0, abs=1e-6)


def test_calibrated_variance_is_where_the_density_is_largest() -> None:
    torch.manual_seed(0)
    raw, images = torch.randn(8, 3, 4, 4), torch.rand(8, 3, 4, 4)
    best = Gaussian(False, "calibrated", 1.0).train().log_prob(raw, images).mean()
    sigmas = torch.linspace(0.05, 2, 400)
    searched = [float(Gaussian(False, "fixed", float(s)).log_prob(raw, images).mean()) for s in sigmas]
    assert float(best) >= max(searched) - 1e-4
    assert float(best) == pytest.approx(max(searched), abs=0.05)


def test_calibrated_variance_reaches_its_running_value_and_a_floor() -> None:
    likelihood = Gaussian(False, "calibrated", 1.0).train()
    raw, images = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 0.6)  # an error of 0.1 everywhere
    for _ in range(2000):
        likelihood.log_prob(raw, images)
    assert float((0.5 * likelihood.log_variance).exp()) == pytest.approx(0.1, rel=1e-3)
    exact = likelihood.log_prob(raw, torch.full((4, 1, 8, 8), 0.5))
    assert torch.isfinite(exact).all()


def test_learned_variance_has_a_gradient_that_vanishes_at_the_mean_squared_error() -> None:
    likelihood = Gaussian(False, "learned", 0.1)
    raw, images = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 0.6)
    likelihood.log_prob(raw, images).mean().backward()
    assert abs(float(likelihood.log_variance.grad)) < 1e-3


def test_squared_error_has_no_half() -> None:
    raw, images = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    assert SquaredError(False).log_prob(raw, images).tolist() == pytest.approx([-16 * 0.25] * 2)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "squared-error"])
def test_densities_are_summed_in_float32_at_least(kind: str) -> None:
    likelihood = likelihood_for(kind, sigma=1.0)
    values = likelihood.log_prob(torch.randn(2, 1, 32, 32).bfloat16(), torch.rand(2, 1, 32, 32))
    assert values.dtype == torch.float32 and values.shape == (2,)
