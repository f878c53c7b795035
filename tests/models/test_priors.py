"""Priors: fitted ones have the codes' distribution, and a row's code depends on the row alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.models.priors import FITTED, FittedGaussian, FittedMixture, fit_prior, prior_of


def test_a_fitted_prior_has_the_mean_and_covariance_of_the_codes() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))
    codes = torch.from_numpy(rng.normal(size=(5000, 4)) @ mixing + [1, 2, 3, 4])
    prior = FittedGaussian.fit(codes)
    assert prior.mean.numpy() == pytest.approx(codes.numpy().mean(0), abs=1e-4)
    covariance = (prior.factor @ prior.factor.T).numpy()
    assert covariance == pytest.approx(np.cov(codes.numpy().T), rel=1e-3, abs=1e-3)
    samples = prior.from_noise(torch.randn(50_000, 4, generator=torch.Generator().manual_seed(0)))
    assert np.cov(samples.numpy().T) == pytest.approx(np.cov(codes.numpy().T), rel=0.1, abs=0.15)


def test_dead_and_too_few_codes() -> None:
    dead = torch.zeros(100, 3)
    assert torch.isfinite(FittedGaussian.fit(dead).factor).all()
    few = FittedGaussian.fit(torch.randn(2, 10))
    assert torch.isfinite(few.from_noise(torch.randn(3, 10))).all()
    with pytest.raises(SettingError, match="at least 2"):
        FittedGaussian.fit(torch.zeros(1, 3))


@pytest.mark.parametrize("kind", FITTED)
def test_fitted_codes_do_not_depend_on_the_batch(kind: str) -> None:
    prior = fit_prior(kind, torch.randn(100, 32))
    noise = seeded_noise(700, 32, 0)
    many = prior.from_noise(noise)
    assert all(torch.equal(many[i], prior.from_noise(noise[i : i + 1])[0]) for i in (0, 3, 511, 512, 699))


@pytest.mark.parametrize("kind", FITTED)
def test_a_saved_prior_is_the_same(kind: str) -> None:
    prior, noise = fit_prior(kind, torch.randn(100, 3)), torch.randn(50, 3)
    assert torch.equal(prior_of(kind, prior.tensors()).from_noise(noise), prior.from_noise(noise))


def two_clusters(count: int) -> torch.Tensor:
    """A quarter of the codes around (-4, 0), stretched; the others around (4, 1)."""
    rng = np.random.default_rng(0)
    left = rng.normal(size=(count // 4, 2)) * [0.3, 2.0] + [-4, 0]
    right = rng.normal(size=(count - count // 4, 2)) * [1.0, 0.5] + [4, 1]
    return torch.from_numpy(np.concatenate([left, right]))


def test_a_mixture_keeps_what_a_gaussian_blurs() -> None:
    codes = two_clusters(4000)
    samples = fit_prior("mixture", codes).from_noise(seeded_noise(4000, 2, 1)).numpy()
    # Each coordinate by a two-sample Kolmogorov-Smirnov test, and the share and shape of the left cluster.
    for column in range(2):
        assert stats.ks_2samp(samples[:, column], codes[:, column].numpy()).statistic < 0.05
    left = samples[samples[:, 0] < 0]
    assert len(left) / 4000 == pytest.approx(0.25, abs=0.03)
    assert left.std(0) == pytest.approx([0.3, 2.0], rel=0.1)
    assert abs(np.corrcoef(left.T)[0, 1]) < 0.1
    blurred = fit_prior("gaussian", codes).from_noise(seeded_noise(4000, 2, 1)).numpy()
    assert (np.abs(blurred[:, 0]) < 1.5).mean() > 0.2 and (np.abs(samples[:, 0]) < 1.5).mean() < 0.05


def test_the_number_that_chose_a_component_is_normal_again() -> None:
    """Within a component the codes must be N(mean, L L^T), though one of their numbers was used to choose it."""
    prior = FittedMixture(
        torch.tensor([0.1, 0.6, 0.3]).double(),
        torch.tensor([[-100.0, 0.0], [0.0, 0.0], [100.0, 0.0]]),
        torch.eye(2).expand(3, 2, 2),
    )
    samples = prior.from_noise(seeded_noise(20_000, 2, 0)).numpy()
    which = np.round(samples[:, 0] / 100)
    assert [(which == k).mean() for k in (-1, 0, 1)] == pytest.approx([0.1, 0.6, 0.3], abs=0.01)
    for k in (-1, 0, 1):
        within = samples[which == k] - [100 * k, 0]
        assert stats.kstest(within[:, 0], "norm").pvalue > 0.001
        assert stats.kstest(within[:, 1], "norm").pvalue > 0.001


def test_few_and_dead_codes_make_a_mixture_too() -> None:
    for codes in (torch.zeros(100, 3), torch.randn(2, 10), torch.randn(39, 4)):
        samples = fit_prior("mixture", codes).from_noise(seeded_noise(5, codes.shape[1], 0))
        assert torch.isfinite(samples).all()
    with pytest.raises(SettingError, match="at least 2"):
        fit_prior("mixture", torch.zeros(1, 3))
