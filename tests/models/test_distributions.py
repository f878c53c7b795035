"""Distributions of codes against closed forms, Monte Carlo and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import Normal, kl_divergence

from morphospace.models.distributions import DiagonalGaussian


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


def test_repeated_rows_stand_beside_each_other() -> None:
    q = DiagonalGaussian(torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [-2.0]]))
    assert q.repeated(3).mean.flatten().tolist() == [1, 1, 1, 2, 2, 2]
    assert q.repeated(3).log_variance.flatten().tolist() == [-1, -1, -1, -2, -2, -2]
