"""Priors: fitted ones have the codes' distribution, and a row's code depends on the row alone."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.priors import (
    FITTED,
    FittedFlow,
    FittedGaussian,
    FittedMixture,
    FlowPrior,
    LearnedPrior,
    MixturePrior,
    Normal,
    Prior,
    VampPrior,
    _at_once,
    _by_row,
    fit_prior,
    mixture_log_prob,
    prior_of,
)


@pytest.fixture(autouse=True)
def few_steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds for any fitted flow holds for one that is fitted in 100 steps; a ring takes more."""
    monkeypatch.setattr(FittedFlow, "steps", 500 if "ring" in request.node.name else 100)


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


def test_components_are_the_same_chosen_one_by_one_and_at_once() -> None:
    numbers = torch.cat([torch.randn(500, generator=torch.Generator().manual_seed(0)), torch.tensor([-9.0, 0.0, 9.0])])
    for weights in (torch.tensor([0.2, 0.5, 0.3]), torch.tensor([1.0]), torch.tensor([0.5, 0.5])):
        one_by_one, at_once = _by_row(numbers, weights.double()), _at_once(numbers, weights.double())
        assert torch.equal(one_by_one[0], at_once[0])
        assert torch.allclose(one_by_one[1].double(), at_once[1], atol=1e-6)


def test_few_and_dead_codes_make_a_mixture_too() -> None:
    for codes in (torch.zeros(100, 3), torch.randn(2, 10), torch.randn(39, 4)):
        samples = fit_prior("mixture", codes).from_noise(seeded_noise(5, codes.shape[1], 0))
        assert torch.isfinite(samples).all()
    with pytest.raises(SettingError, match="at least 2"):
        fit_prior("mixture", torch.zeros(1, 3))


def encoder(images: torch.Tensor) -> DiagonalGaussian:
    """Encode (N, 1, 1, 4) images in two numbers."""
    flat = images.flatten(1)
    return DiagonalGaussian(3 * flat[:, :2] - 1, flat[:, 2:] - 2)


def learned(kind: str) -> LearnedPrior:
    """A learned prior of two dimensions whose weights are far from where they begin."""
    torch.manual_seed(1)
    prior: LearnedPrior
    if kind == "mixture":
        prior = MixturePrior(2, 5)
    elif kind == "vamp":
        prior = VampPrior(encoder, (1, 4, 1), 5, signed=False)
    else:
        prior = FlowPrior(2, 4, width=16)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return prior


PRIORS = ["normal", "mixture", "vamp", "flow", *(f"fitted {kind}" for kind in FITTED)]


@cache
def every_prior() -> dict[str, Prior]:
    codes = torch.cat([torch.randn(300, 2) * 0.5 - 1, torch.randn(300, 2) + 1])
    made: dict[str, Prior] = {"normal": Normal()}
    made |= {kind: learned(kind) for kind in ("mixture", "vamp", "flow")}
    made |= {f"fitted {kind}": fit_prior(kind, codes) for kind in FITTED}
    return made


@torch.no_grad()
@pytest.mark.parametrize("kind", PRIORS)
def test_a_prior_is_normalised(kind: str) -> None:
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis).float()
    total = every_prior()[kind].log_prob(places).double().exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=2e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", PRIORS)
def test_samples_have_the_density(kind: str) -> None:
    """E over samples of g / p is 1 for any density g inside p's support; and p's moments are those of its samples."""
    prior, noise = every_prior()[kind], torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    samples = prior.from_noise(noise).double()
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis)
    weights = prior.log_prob(places.float()).double().exp()[:, None] * (axis[1] - axis[0]) ** 2
    mean = (weights * places).sum(0)
    covariance = (weights * (places - mean)).T @ (places - mean)
    spread = float(covariance.diagonal().sqrt().max())
    assert torch.allclose(samples.mean(0), mean, atol=0.04 * spread)
    assert torch.allclose(torch.cov(samples.T), covariance, atol=0.08 * spread**2)
    grid = torch.histogramdd(samples, bins=[12, 12], range=[-4.0, 4.0, -4.0, 4.0]).hist / len(samples)
    inside = (places.abs() < 4).all(1)
    expected = torch.histogramdd(
        places[inside], bins=[12, 12], range=[-4.0, 4.0, -4.0, 4.0], weight=weights[inside, 0]
    ).hist
    assert float((grid - expected).abs().sum()) < 0.12


@pytest.mark.parametrize("kind", ["mixture", "vamp", "flow"])
def test_a_learned_code_does_not_depend_on_the_batch(kind: str) -> None:
    prior, noise = learned(kind), seeded_noise(600, 2, 0)
    many = prior.from_noise(noise)
    assert all(torch.equal(many[i], prior.from_noise(noise[i : i + 1])[0]) for i in (0, 3, 511, 512, 599))


def test_a_new_flow_is_the_standard_normal() -> None:
    z = torch.randn(50, 7)
    flow = FlowPrior(7, 4)
    assert torch.allclose(flow.log_prob(z), Normal().log_prob(z), atol=1e-5)
    assert torch.allclose(flow.from_noise(z), z)


def test_log_prob_is_exact_under_autocast() -> None:
    z = 3 + torch.randn(50, 2)
    for kind in ("mixture", "flow"):
        prior = learned(kind)
        exact = prior.log_prob(z)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(prior.log_prob(z), exact)


def test_a_fitted_flow_beats_a_gaussian_on_a_ring() -> None:
    angle, noise = torch.rand(4000, 1) * 6.2832, torch.randn(4000, 2)
    ring = torch.cat([angle.cos(), angle.sin()], 1) * 3 + 0.3 * noise
    flow, gaussian = FittedFlow.fit(ring[:3000]), FittedGaussian.fit(ring[:3000])
    assert float(flow.log_prob(ring[3000:]).mean() - gaussian.log_prob(ring[3000:]).mean()) > 0.5
    radius = flow.from_noise(torch.randn(2000, 2)).norm(dim=1)
    assert float(((radius > 2) & (radius < 4)).float().mean()) > 0.8


def test_a_vamp_prior_begins_at_images_and_keeps_no_second_encoder() -> None:
    prior = VampPrior(encoder, (1, 4, 1), 3, signed=True)
    images = torch.rand(3, 1, 1, 4) * 1.8 - 0.9
    prior.start_from(images)
    assert torch.allclose(prior.posterior().mean, encoder(images).mean, atol=1e-4)
    assert list(prior.state_dict()) == ["logits"]
    # Images often lie in the order of their classes: it begins at some of each, and of few images at all.
    ordered = torch.linspace(-0.9, 0.9, 10).view(10, 1, 1, 1).expand(10, 1, 1, 4)
    prior.start_from(ordered)
    assert torch.allclose(2 * prior.logits.sigmoid() - 1, ordered[[0, 4, 9]], atol=1e-4)
    prior.start_from(images[:1])
    assert torch.allclose(2 * prior.logits.sigmoid() - 1, torch.cat([images[:1], ordered[[4, 9]]]), atol=1e-4)


def test_a_mixture_of_sharp_components_has_its_density_to_a_thousandth_of_a_nat() -> None:
    means, log_variances = torch.randn(50, 32), torch.full((50, 32), -11.0)
    z = means[:20] + (log_variances[:20] / 2).exp() * torch.randn(20, 32)
    exact = [each.double() for each in (z, torch.zeros(50), means, log_variances)]
    apart = ((exact[0][:, None] - exact[2]) ** 2 / exact[3].exp() + exact[3] + math.log(2 * math.pi)).sum(2)
    expected = torch.logsumexp(-0.5 * apart, 1) - math.log(50)
    found = mixture_log_prob(z, torch.zeros(50), means, log_variances)
    assert found.dtype == torch.float32 and torch.allclose(found.double(), expected, atol=1e-3)
