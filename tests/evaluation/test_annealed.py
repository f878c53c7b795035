"""Annealed importance sampling against linear-Gaussian models, whose log p(x) and posterior are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.evaluation.annealed import Annealing, annealed_bounds, sigmoid_schedule, simulate
from morphospace.models.likelihoods import Bernoulli, Likelihood, likelihood_for

DIM, PIXELS = 3, 8
WEIGHT = torch.from_numpy(np.random.default_rng(0).normal(size=(PIXELS, DIM))).float()
NOISE = 0.5


class Normal(Likelihood):
    """N(raw, 1/4)."""

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        return -0.5 * ((images - raw) ** 2 / NOISE**2 + math.log(2 * math.pi * NOISE**2))


def raw(z: Tensor, condition: Tensor | None) -> Tensor:
    return (z @ WEIGHT.T).view(-1, 1, 1, PIXELS)


def drawn(count: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Images of the model, their codes, and their log p(x)."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(count, DIM, generator=generator)
    images = raw(codes, None) + NOISE * torch.randn(count, 1, 1, PIXELS, generator=generator)
    covariance = (WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(PIXELS)).double().numpy()
    truth = stats.multivariate_normal(np.zeros(PIXELS), covariance).logpdf(images.flatten(1).double().numpy())
    return images, codes, truth


def test_both_bounds_close_in_on_the_truth() -> None:
    images, codes, truth = drawn(16)
    settings = Annealing(temperatures=60, chains=16, leapfrog=8)
    found = annealed_bounds(raw, Normal(), images, DIM, settings=settings, posterior_draws=codes)
    assert found.upper is not None and found.gap is not None
    assert found.lower.mean() == pytest.approx(truth.mean(), abs=0.3)
    assert found.upper.mean() == pytest.approx(truth.mean(), abs=0.4)
    assert -0.2 < found.gap < 0.6 and 0.4 < found.accepted < 0.95


def test_the_weights_are_unbiased_however_short_the_annealing() -> None:
    """E[w] = p(x) forward and E[1 / w] = 1 / p(x) back from exact posterior draws."""
    images, _, truth = drawn(1)
    precision = WEIGHT.T @ WEIGHT / NOISE**2 + torch.eye(DIM)
    mean = torch.linalg.solve(precision, WEIGHT.T @ images.view(-1) / NOISE**2)
    factor = torch.linalg.cholesky(torch.linalg.inv(precision))
    count = 200
    codes = mean + torch.randn(count, DIM, generator=torch.Generator().manual_seed(2)) @ factor.T
    settings = Annealing(temperatures=30, chains=8, leapfrog=6)
    found = annealed_bounds(
        raw, Normal(), images.expand(count, -1, -1, -1), DIM, settings=settings, posterior_draws=codes, together=count
    )
    assert found.upper is not None
    assert float(found.lower.logsumexp(0)) - math.log(count) == pytest.approx(float(truth), abs=0.15)
    assert math.log(count) - float((-found.upper).logsumexp(0)) == pytest.approx(float(truth), abs=0.15)
    assert found.lower.mean() < float(truth) < found.upper.mean()


def test_too_short_an_annealing_lies_below_and_above() -> None:
    images, codes, truth = drawn(24)
    settings = Annealing(temperatures=6, chains=2, leapfrog=2)
    found = annealed_bounds(raw, Normal(), images, DIM, settings=settings, posterior_draws=codes)
    assert found.upper is not None
    assert found.lower.mean() < truth.mean() - 0.3 and found.upper.mean() > truth.mean() + 0.3


def test_an_images_bounds_do_not_hang_on_its_batch() -> None:
    images, codes, _ = drawn(5)
    settings = Annealing(temperatures=5, chains=2, leapfrog=2)
    whole = annealed_bounds(raw, Normal(), images, DIM, settings=settings, posterior_draws=codes)
    apart = annealed_bounds(raw, Normal(), images, DIM, settings=settings, posterior_draws=codes, together=2)
    later = annealed_bounds(raw, Normal(), images[3:], DIM, settings=settings, start=3)
    assert whole.upper is not None and apart.upper is not None and later.upper is None and later.gap is None
    assert torch.allclose(whole.lower, apart.lower, atol=1e-3) and torch.allclose(whole.upper, apart.upper, atol=1e-3)
    assert torch.allclose(whole.lower[3:], later.lower, atol=1e-3)


def test_the_schedule_rises_from_0_to_1_slowly_at_both_ends() -> None:
    betas = np.array(sigmoid_schedule(50))
    steps = np.diff(betas)
    assert betas[0] == 0 and betas[-1] == 1 and (steps > 0).all()
    assert np.allclose(betas, 1 - betas[::-1]) and steps[0] < steps[25] / 5


def test_refusals() -> None:
    with pytest.raises(SettingError, match="is no density"):
        annealed_bounds(raw, likelihood_for("squared-error"), drawn(1)[0], DIM)
    with pytest.raises(SettingError, match="temperatures = 1"):
        Annealing(temperatures=1)
    with pytest.raises(SettingError, match="no density to sample"):
        likelihood_for("squared-error").sample(torch.zeros(1, 1, 2, 2), torch.Generator())


@pytest.mark.parametrize(
    "kind",
    [
        "bernoulli",
        "continuous-bernoulli",
        "gaussian",
        "discretised-logistic",
        "discretised-logistic-mixture",
        "categorical",
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_simulated_images_are_as_likely_as_the_likelihood_says(kind: str, signed: bool) -> None:
    """Mean log density of many draws against the entropy found by integrating the same density on a grid."""
    if signed and "bernoulli" in kind:
        return
    variance = {"variance": "fixed", "sigma": 0.3} if kind == "gaussian" else {}
    likelihood = likelihood_for(kind, signed=signed, **variance).eval()  # type: ignore[arg-type]
    outputs = likelihood.outputs_per_value
    one = torch.randn(1, outputs, 1, 1, generator=torch.Generator().manual_seed(3)) * 0.7
    many = likelihood.sample(one.expand(20_000, -1, -1, -1), torch.Generator().manual_seed(4))
    low = -1.0 if signed else 0.0
    if kind == "bernoulli":
        grid, width = torch.tensor([0.0, 1.0]), 1.0
    elif likelihood.over_levels:
        grid, width = torch.linspace(low, 1, 256), 1.0
    else:
        ends = (-4.0, 4.0) if kind == "gaussian" else (0.0, 1.0)
        grid, width = torch.linspace(*ends, 20_001), (ends[1] - ends[0]) / 20_000
    log_p = likelihood.log_prob(one.expand(len(grid), -1, -1, -1), grid.view(-1, 1, 1, 1)).double()
    total = float(log_p.exp().sum() * width)
    assert total == pytest.approx(1, abs=0.01)
    mean = float((log_p.exp() * grid).sum() * width)
    entropy = float((log_p.exp() * log_p).sum() * width)
    assert float(many.mean()) == pytest.approx(mean, abs=0.02)
    each = likelihood.log_prob(one.expand(len(many), -1, -1, -1), many).double()
    assert float(each.mean()) == pytest.approx(entropy, abs=0.05)


def test_simulated_images_do_not_hang_on_their_batch() -> None:
    codes = torch.randn(4, DIM, generator=torch.Generator().manual_seed(0))
    whole = simulate(raw, Bernoulli(), codes, seed=5)
    assert torch.equal(whole.images[2:], simulate(raw, Bernoulli(), codes[2:], seed=5, start=2).images)
    assert not torch.equal(whole.images, simulate(raw, Bernoulli(), codes, seed=6).images)
    assert set(whole.images.unique().tolist()) <= {0.0, 1.0}
