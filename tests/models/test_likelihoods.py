"""Likelihoods: each proper one sums or integrates to one, and agrees with scipy or torch where they know it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import ContinuousBernoulli as Reference

from morphospace.errors import SettingError
from morphospace.models.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Gaussian,
    SquaredError,
    likelihood_for,
)
from morphospace.zoo.settings import VAESettings

LOGITS = [-30.0, -5.0, -1.0, -0.21, -0.19, -1e-3, 0.0, 1e-6, 0.1, 0.2, 0.5, 3.0, 40.0]


def every_level(signed: bool) -> torch.Tensor:
    """One image of one value for each of the 256 levels."""
    levels = torch.arange(256).double().view(256, 1, 1, 1) / 255
    return 2 * levels - 1 if signed else levels


def test_bernoulli_sums_to_one_over_all_binary_images() -> None:
    raw = torch.randn(1, 1, 2, 2).double()
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().view(16, 1, 2, 2)
    log_prob = Bernoulli().log_prob(raw.expand(16, 1, 2, 2), images)
    assert float(log_prob.exp().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one_and_has_its_mean(logit: float) -> None:
    # Simpson's rule on a grid fine enough for a density that falls by exp(40) over [0, 1].
    x = np.linspace(0, 1, 20_001)
    raw = torch.full((len(x), 1, 1, 1), logit).double()
    density = ContinuousBernoulli().log_prob(raw, torch.from_numpy(x).view(-1, 1, 1, 1)).exp().numpy()
    from scipy.integrate import simpson

    assert simpson(density, x=x) == pytest.approx(1.0, abs=1e-7)
    assert float(ContinuousBernoulli().mean(raw[:1])) == pytest.approx(simpson(density * x, x=x), abs=1e-7)


def test_continuous_bernoulli_agrees_with_torch_and_has_a_smooth_gradient_in_float32() -> None:
    raw = torch.linspace(-12, 12, 97).view(-1, 1, 1, 1)
    images = torch.rand(97, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    expected = Reference(logits=raw.double()).log_prob(images.double()).flatten()
    assert ContinuousBernoulli().log_prob(raw, images).double() == pytest.approx(expected, abs=1e-4)
    # d log p / d logit = x - mean, in any exponential family: across the seams of the series too.
    seams = torch.tensor([-0.5001, -0.4999, -0.2001, -0.1999, -1e-4, 0.0, 1e-7, 0.1999, 0.2001, 0.4999, 9.0])
    near = seams.view(-1, 1, 1, 1).requires_grad_()
    likelihood = ContinuousBernoulli()
    likelihood.log_prob(near, torch.full_like(near, 0.3)).sum().backward()
    assert near.grad.flatten().tolist() == pytest.approx((0.3 - likelihood.mean(near)).flatten().tolist(), abs=2e-6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("location", "log_scale"), [(0.0, 0.0), (0.3, -3.0), (-1.4, -2.0), (0.999, -6.5), (5.0, 1.0), (0.1, -40.0)]
)
def test_discretised_logistic_sums_to_one_and_agrees_with_scipy(
    location: float, log_scale: float, signed: bool
) -> None:
    likelihood = DiscretisedLogistic(signed)
    raw = torch.tensor([location, log_scale], dtype=torch.float64).view(1, 2, 1, 1).expand(256, 2, 1, 1)
    mass = likelihood.log_prob(raw, every_level(signed)).exp().numpy()
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 127.5 - 1, [np.inf]])
    scale = math.exp(max(log_scale, -7.0))
    assert mass == pytest.approx(np.diff(stats.logistic.cdf(edges, location, scale)), abs=1e-9)
    levels = every_level(signed).flatten().numpy()
    half = (1.0 if signed else 0.5) / 255
    assert float(likelihood.mean(raw[:1])) == pytest.approx(float((mass * levels).sum()), abs=half * 1.001)


def test_discretised_logistic_far_from_its_location_keeps_value_and_gradient() -> None:
    """Differences of distribution functions would round to log 0 here."""
    raw = torch.tensor([-1.0, -7.0]).view(1, 2, 1, 1).requires_grad_()
    log_prob = DiscretisedLogistic(False).log_prob(raw, torch.full((1, 1, 1, 1), 200 / 255))
    log_prob.sum().backward()
    # log(F(b) - F(a)) is -(a - location) / scale but for the bin's width, far in the upper tail
    edge, scale = (199.5 / 127.5 - 1) + 1, math.exp(-7)
    width = 1 / 127.5 / scale
    assert float(log_prob.detach()) == pytest.approx(-edge / scale + math.log(1 - math.exp(-width)), rel=1e-5)
    assert torch.isfinite(raw.grad).all() and float(raw.grad[0, 0]) == pytest.approx(1 / scale, rel=1e-4)


@pytest.mark.parametrize("signed", [False, True])
def test_logistic_mixture_sums_to_one_and_is_the_weighted_sum_of_its_parts(signed: bool) -> None:
    mixture, alone = likelihood_for("discretised-logistic-mixture", signed=signed), DiscretisedLogistic(signed)
    count = mixture.outputs_per_value // 3
    logits, locations, log_scales = torch.randn(3, count, 2, generator=torch.Generator().manual_seed(0)).double()
    raw = torch.cat([logits, locations, log_scales - 2]).reshape(1, -1, 1, 1)
    images, weights = every_level(signed).expand(-1, 2, 1, 1), logits.softmax(0)
    masses = mixture.per_value(raw.expand(256, -1, 1, 1), images)[:, :, 0, 0].exp()
    assert masses.sum(0).tolist() == pytest.approx([1, 1], abs=1e-12)
    parts = [torch.cat([locations[k], log_scales[k] - 2]).view(1, 4, 1, 1) for k in range(count)]
    each = torch.stack([alone.per_value(part.expand(256, -1, 1, 1), images)[:, :, 0, 0].exp() for part in parts])
    assert torch.allclose(masses, (weights[:, None] * each).sum(0), atol=1e-12)
    means = torch.cat([alone.mean(part).view(1, 2) for part in parts])
    assert torch.allclose(mixture.mean(raw).view(2), (weights * means).sum(0))


@pytest.mark.parametrize("signed", [False, True])
def test_categorical_sums_to_one_and_its_mean_is_the_expected_level(signed: bool) -> None:
    likelihood, raw = Categorical(signed), torch.randn(1, 256 * 3, 1, 1).double() * 3
    masses = []
    for channel in range(3):
        images = torch.zeros(256, 3, 1, 1).double() - float(signed)
        images[:, channel] = every_level(signed)[:, 0]
        masses.append(likelihood.per_value(raw.expand(256, -1, 1, 1), images)[:, channel, 0, 0].exp())
        # the k-th logit of channel c is raw number 256 c + k
        assert masses[-1] == pytest.approx(raw.flatten()[256 * channel : 256 * (channel + 1)].softmax(0))
    levels = every_level(signed).flatten()
    expected = [float((mass * levels).sum()) for mass in masses]
    assert likelihood.mean(raw).flatten().tolist() == pytest.approx(expected)
    assert all(float(mass.sum()) == pytest.approx(1.0) for mass in masses)


@pytest.mark.parametrize("kind", ["discretised-logistic", "discretised-logistic-mixture", "categorical"])
def test_levels_survive_the_way_from_bytes_to_floats(kind: str) -> None:
    """Each level's own mass is taken whatever the rounding of k / 255 in float32."""
    for signed in (False, True):
        likelihood = likelihood_for(kind, signed=signed)
        raw = torch.randn(256, likelihood.outputs_per_value, 1, 1)
        exact = likelihood.log_prob(raw, every_level(signed))
        levels = torch.arange(256).float().view(256, 1, 1, 1)
        packed = levels * (2 / 255) - 1 if signed else levels * (1 / 255)
        assert torch.allclose(likelihood.log_prob(raw, packed).double(), exact.double(), atol=1e-5)


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
    mask = (torch.rand(8, 1, 4, 4) > 0.4).float()
    sigmas = torch.linspace(0.05, 2, 400)
    for counted in (None, mask):
        best = Gaussian(False, "calibrated", 1.0).train().log_prob(raw, images, counted).mean()
        searched = [float(Gaussian(False, "fixed", float(s)).log_prob(raw, images, counted).mean()) for s in sigmas]
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


def test_a_short_training_is_judged_by_its_own_variance_not_by_the_one_it_began_with() -> None:
    likelihood = Gaussian(False, "calibrated", 1.0).train()
    raw, images = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 0.6)
    for _ in range(60):
        trained = likelihood.log_prob(raw, images)
    assert likelihood.eval().log_prob(raw, images).tolist() == pytest.approx(trained.tolist(), abs=0.01)


def test_learned_variance_has_a_gradient_that_vanishes_at_the_mean_squared_error() -> None:
    likelihood = Gaussian(False, "learned", 0.1)
    raw, images = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 0.6)
    likelihood.log_prob(raw, images).mean().backward()
    assert abs(float(likelihood.log_variance.grad)) < 1e-3


def test_squared_error_has_no_half() -> None:
    raw, images = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    assert SquaredError(False).log_prob(raw, images).tolist() == pytest.approx([-16 * 0.25] * 2)


KINDS = [
    "bernoulli",
    "continuous-bernoulli",
    "gaussian",
    "squared-error",
    "discretised-logistic",
    "discretised-logistic-mixture",
    "categorical",
]


@pytest.mark.parametrize("kind", KINDS)
def test_densities_are_summed_in_float32_at_least(kind: str) -> None:
    likelihood = likelihood_for(kind, sigma=1.0)
    raw = torch.randn(2, likelihood.outputs_per_value, 32, 32).bfloat16()
    values = likelihood.log_prob(raw, torch.rand(2, 1, 32, 32))
    assert values.dtype == torch.float32 and values.shape == (2,)
    mean = likelihood.mean(raw)
    assert mean.shape == (2, 1, 32, 32) and float(mean.min()) >= 0 and float(mean.max()) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_leaves_out_what_it_covers(kind: str) -> None:
    """The density within a mask is the one of an image that consists of those pixels alone."""
    likelihood = likelihood_for(kind, sigma=0.5)
    raw = torch.randn(3, 2 * likelihood.outputs_per_value, 4, 6)
    images = torch.randint(0, 256, (3, 2, 4, 6)) / 255
    mask = torch.zeros(3, 1, 4, 6)
    mask[..., :2] = 1
    whole = likelihood.log_prob(raw, images, torch.ones(3, 1, 4, 6))
    assert torch.allclose(whole, likelihood.log_prob(raw, images), rtol=1e-5)
    part = likelihood.log_prob(raw[..., :2], images[..., :2])
    assert torch.allclose(likelihood.log_prob(raw, images, mask), part, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dequantise": True}, "'bernoulli' is no continuous density"),
        ({"dequantise": True, "likelihood": "categorical"}, "no continuous density"),
        ({"signed": True, "likelihood": "continuous-bernoulli"}, "Bernoulli likelihood needs pixels"),
    ],
)
def test_likelihoods_that_do_not_fit_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        VAESettings(**settings)
