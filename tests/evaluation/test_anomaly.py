"""Scores against closed forms and scikit-learn."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score
from torch import Tensor

from morphospace.errors import SettingError
from morphospace.evaluation.anomaly import (
    auroc,
    complexity,
    critic_scores,
    density_words,
    mahalanobis,
    negative_bounds,
    reconstruction_errors,
)
from morphospace.latent.components import Moments
from morphospace.models.contract import Model
from morphospace.models.distributions import DiagonalGaussian
from morphospace.models.likelihoods import Likelihood
from morphospace.zoo.settings import AESettings, DCGANSettings, MaskVAESettings, VAESettings

SHAPE = (8, 8, 1)


class Unit(Likelihood):
    """N(x; raw, 1)."""

    def per_value(self, raw: Tensor, images: Tensor) -> Tensor:
        return -0.5 * ((images - raw) ** 2 + math.log(2 * math.pi))


class Linear(Model):
    """p(z) = N(0, 1), p(x | z) = N(z, 1), hence log p(x) = log N(x; 0, 2); q(z | x) = N(x / 2, variance)."""

    def __init__(self, variance: float) -> None:
        super().__init__(SimpleNamespace(name="linear", latent_dim=1, code_length=lambda shape: 1), (1, 1, 1), {})
        self.networks["anything"] = torch.nn.Linear(1, 1)
        self.likelihood, self.variance = Unit(), variance

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian:
        mean = images.flatten(1) / 2
        return DiagonalGaussian(mean, torch.full_like(mean, math.log(self.variance)))

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 1, 1)


ONE = torch.ones(1, 1, 1, 1)


def test_bounds_are_those_of_the_linear_gaussian_model() -> None:
    rough, exact = Linear(1.0), Linear(0.5)
    elbo = -negative_bounds(rough, ONE, draws=200_000)
    assert elbo.item() == pytest.approx(-1.6689385332, abs=0.01)
    five = -negative_bounds(rough, ONE.expand(40_000, 1, 1, 1), draws=5, importance=True)
    assert five.mean().item() == pytest.approx(-1.53254, abs=0.003)
    # With the exact posterior every weight is p(x): no variance, at any number of draws.
    for draws in (1, 7):
        value = -negative_bounds(exact, ONE, draws=draws, importance=True).item()
        assert value == pytest.approx(-1.5155121235, abs=1e-6)


def test_a_score_depends_on_the_seed_and_the_images_number_only() -> None:
    model, images = Linear(1.0), torch.randn(600, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for importance in (False, True):
        whole = negative_bounds(model, images, draws=4, importance=importance, seed=3)
        part = negative_bounds(model, images[500:], draws=4, importance=importance, seed=3, start=500)
        assert torch.allclose(whole[500:], part) and whole.dtype == torch.float64
        assert not torch.allclose(negative_bounds(model, images, draws=4, importance=importance, seed=4), whole)


def test_the_training_weights_do_not_enter() -> None:
    torch.manual_seed(0)
    plain = VAESettings(latent_dim=2, widths=(4,)).build(SHAPE).eval()
    weighted = VAESettings(latent_dim=2, widths=(4,), beta=7.0, reduction="mean").build(SHAPE).eval()
    weighted.networks.load_state_dict(plain.networks.state_dict())
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(negative_bounds(plain, images), negative_bounds(weighted, images))


def test_models_without_a_bound_are_refused() -> None:
    images = torch.rand(2, 1, 8, 8)
    ae = AESettings(latent_dim=2, widths=(4,)).build(SHAPE)
    masked = MaskVAESettings(latent_dim=2, widths=(4,)).build(SHAPE)
    gan = DCGANSettings(latent_dim=2, widths=(4,)).build(SHAPE)
    for model in (ae, masked, gan):
        with pytest.raises(SettingError, match=r"by = 'elbo': .* has no bound on log p\(x\)"):
            negative_bounds(model, images)
    from morphospace.models.priors import Normal

    ae.prior = Normal()  # one that was fitted, say: it still encodes to points
    with pytest.raises(SettingError, match="ae has no bound"):
        negative_bounds(ae, images)
    with pytest.raises(SettingError, match="draws = 0"):
        negative_bounds(Linear(1.0), ONE, draws=0)


def test_it_is_said_what_is_no_density() -> None:
    words = {
        likelihood: density_words(VAESettings(likelihood=likelihood, widths=(4,)).build(SHAPE), binary=False)  # type: ignore[arg-type]
        for likelihood in ("bernoulli", "discretised-logistic", "squared-error", "continuous-bernoulli")
    }
    assert words["discretised-logistic"] == words["continuous-bernoulli"] == "nats"
    assert "no density" in words["bernoulli"] and words["squared-error"] == "nats up to a constant"
    assert density_words(VAESettings(widths=(4,)).build(SHAPE), binary=True) == "nats"


def test_reconstruction_and_critic() -> None:
    torch.manual_seed(0)
    ae = AESettings(latent_dim=2, widths=(4,), signed=True).build(SHAPE).eval()
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        rebuilt = ae.decode(ae.encode(images).mean)
    wanted = ((rebuilt - images) / 2).square().mean((1, 2, 3)).double()
    assert torch.allclose(reconstruction_errors(ae, ae, images), wanted)
    with pytest.raises(SettingError, match="ae has no critic"):
        critic_scores(ae, images)
    gan = DCGANSettings(latent_dim=2, widths=(4,)).build(SHAPE).eval()
    assert torch.allclose(critic_scores(gan, images), -gan.score(images).double())


@pytest.mark.parametrize("block", [1, 7, 100])
def test_code_distances_are_those_of_scikit_learn(block: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(100, 4)) @ rng.normal(size=(4, 4)) + 1000
    statistics = Moments.of(torch.from_numpy(codes).split(block), 4)
    assert np.allclose(statistics.mean, codes.mean(0)) and np.allclose(
        statistics.scatter / 100, np.cov(codes.T, ddof=0)
    )
    others = rng.normal(size=(10, 4)) + 1000
    wanted = np.sqrt(EmpiricalCovariance().fit(codes).mahalanobis(others))
    assert np.allclose(mahalanobis(torch.from_numpy(others), statistics), wanted, rtol=1e-4)


def test_a_dead_unit_is_no_division_by_zero() -> None:
    codes = torch.randn(50, 3)
    codes[:, 1] = 0
    distances = mahalanobis(codes, Moments.of([codes], 3))
    assert distances.isfinite().all()
    living = codes[:, ::2]
    assert torch.allclose(mahalanobis(living, Moments.of([living], 2)), distances, rtol=1e-3)
    with pytest.raises(SettingError, match="at least 2"):
        mahalanobis(living, Moments.of([], 2))


def test_complexity_is_the_length_of_the_file_and_noise_is_longest() -> None:
    rng = np.random.default_rng(0)
    flat = np.zeros((1, 28, 28, 3), np.uint8)
    noise = rng.integers(0, 256, (1, 28, 28, 3), np.uint8)
    nats = complexity(np.concatenate([flat, noise]))
    # Noise cannot be compressed: its own bits, and not much more.
    assert 28 * 28 * 3 * 8 * math.log(2) < nats[1] < 1.1 * 28 * 28 * 3 * 8 * math.log(2)
    assert nats[0] < nats[1] / 20
    assert complexity(noise[..., :1])[0] < nats[1] / 2


SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=20)


@given(SCORES, SCORES)
@settings(max_examples=50, deadline=None)
def test_auroc_is_that_of_scikit_learn_also_with_ties(usual: list[float], strange: list[float]) -> None:
    found = auroc(np.array(usual), np.array(strange), rounds=20)
    wanted = roc_auc_score([0] * len(usual) + [1] * len(strange), usual + strange)
    assert found.value == pytest.approx(wanted)
    assert (found.usual, found.strange) == (len(usual), len(strange)) and found.low <= found.high


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng, truth = np.random.default_rng(0), 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    hits = []
    for seed in range(100):
        found = auroc(rng.normal(size=80), rng.normal(1, size=80), rounds=200, seed=seed)
        hits.append(found.low <= truth <= found.high)
    assert 0.87 <= np.mean(hits) <= 1.0
    same = [auroc(np.arange(9.0), np.arange(9.0) + 2, seed=seed) for seed in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


def test_scores_that_say_nothing_are_refused() -> None:
    some = np.arange(3.0)
    for usual, strange, words in ((some, some[:0], "no image is strange"), (some[:0], some, "every image is strange")):
        with pytest.raises(SettingError, match=words):
            auroc(usual, strange)
    with pytest.raises(SettingError, match="not finite"):
        auroc(some, np.array([np.nan]))
