"""The ladder VAE: bounds against a known likelihood, and its posterior against what it is by definition."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from morphospace.data.batches import Batch
from morphospace.errors import SettingError
from morphospace.evaluation.likelihood import evidence_bound, importance_bound
from morphospace.models import priors
from morphospace.models.distributions import Choose, DiagonalGaussian, TopDownGaussian
from morphospace.models.priors import normal_log_prob
from morphospace.zoo.ladder_vae import LadderVAE
from morphospace.zoo.settings import LadderVAESettings
from tests.evaluation.test_likelihood import Normal
from tests.zoo.test_vaes import FakeTurn

SHAPE = (8, 8, 1)
A, B = 1.2, 0.7  # x = A e_1 + B e_2 + noise of variance 1
TRUE_VARIANCE = A**2 + B**2 + 1


class TwoNoises:
    """p(x | e) = N(A e_1 + B e_2, 1): the posterior of (e_1, e_2) is Gaussian, and correlated.

    Args:
        levels: Let e_2 depend on e_1 in the posterior, as it truly does; else both are independent given x, with the
            variances that make the bound largest.
    """

    def __init__(self, levels: bool) -> None:
        self.levels, self.likelihood, self.prior = levels, Normal(), priors.Normal()
        precision = torch.tensor([[1 + A * A, A * B], [A * B, 1 + B * B]], dtype=torch.float64)
        self.covariance, self.best = torch.linalg.inv(precision), 1 / precision.diagonal()

    def encode(self, images: Tensor, condition: Tensor | None = None) -> DiagonalGaussian | TopDownGaussian:
        x = images.flatten(1)
        if not self.levels:
            return DiagonalGaussian(x * torch.tensor([[A, B]]) / TRUE_VARIANCE, self.best.log().expand(len(x), 2))
        return TopDownGaussian((x,), self.descend, 2)

    def descend(self, seen: tuple[Tensor, ...], choose: Choose) -> tuple[Tensor, DiagonalGaussian]:
        (x,) = seen
        top = DiagonalGaussian(A * x / TRUE_VARIANCE, self.covariance[0, 0].log().expand(len(x), 1))
        first = choose(top, slice(0, 1))
        # Given e_1, what is left of x is B e_2 + noise.
        below = DiagonalGaussian((x - A * first) * B / (1 + B * B), self.best[1].log().expand(len(x), 1))
        codes = torch.cat([first, choose(below, slice(1, 2))], 1)
        both = ([top.mean, below.mean], [top.log_variance, below.log_variance])
        return codes, DiagonalGaussian(*(torch.cat(values, 1) for values in both))

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return (A * z[:, 0] + B * z[:, 1]).view(-1, 1, 1, 1)


def test_levels_reach_the_likelihood_that_one_level_of_the_same_parts_stays_below() -> None:
    images = torch.linspace(-3, 3, 5, dtype=torch.float64).view(-1, 1, 1, 1)
    truth = torch.from_numpy(stats.norm(0, math.sqrt(TRUE_VARIANCE)).logpdf(images.numpy().ravel()))
    several = importance_bound(TwoNoises(levels=True), images, 3)
    assert torch.allclose(several.values, truth, atol=1e-6) and torch.allclose(several.elbo, truth, atol=1e-6)
    assert several.effective_samples.tolist() == pytest.approx([3] * 5, abs=1e-4)
    bounds = {levels: evidence_bound(TwoNoises(levels), images, 4000) for levels in (True, False)}
    # KL(q || posterior) of the best independent Gaussian is half the log of the correlation that it leaves out.
    left_out = -0.5 * math.log(1 - (A * B) ** 2 / ((1 + A * A) * (1 + B * B)))
    assert float((truth - bounds[True].values).abs().max()) < 0.05
    assert (truth - bounds[False].values).tolist() == pytest.approx([left_out] * 5, abs=0.05)
    assert left_out > 0.1
    tight = importance_bound(TwoNoises(levels=False), images, 20_000).values
    assert torch.all(bounds[False].values < tight) and torch.allclose(tight, truth, atol=0.02)


def ladder(**settings: object) -> LadderVAE:
    torch.manual_seed(0)
    model = LadderVAESettings(**{"latent_dim": 5, "tower": "mlp", "widths": (16,), "levels": 2, **settings}).build(
        SHAPE
    )
    assert isinstance(model, LadderVAE)
    with torch.no_grad():  # a new block does nothing, and a new posterior is near the prior
        for parameter in model.networks.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.networks.double()
    return model.eval()  # type: ignore[return-value]


@pytest.mark.parametrize("settings", [{}, {"tower": "conv", "widths": (4, 6), "levels": 3}, {"skips": False}])
def test_the_posterior_is_the_distribution_of_what_it_draws(settings: dict) -> None:
    """log q of a code is that of the noise over the determinant of the map from one to the other."""
    model, images = ladder(**settings), torch.rand(1, 1, 8, 8).double()
    posterior, noise = model.encode(images), torch.randn(1, 5).double()
    z, own = posterior.drawn(noise)
    jacobian = torch.autograd.functional.jacobian(lambda e: posterior.sample(e)[0], noise)[:, 0]
    expected = normal_log_prob(noise) - torch.linalg.det(jacobian).abs().log()
    assert torch.allclose(posterior.log_prob(z), expected) and torch.allclose(own.log_prob(z), expected)
    top = model.levels[0]
    assert float(jacobian[:top, top:].abs().max()) == 0  # the top depends on nothing below it
    assert float(jacobian[top:, :top].abs().max()) > 0.001  # and those below depend on it
    assert torch.allclose(posterior.mean, posterior.sample(torch.zeros_like(noise)))
    assert torch.allclose(posterior.repeated(3).log_prob(z.expand(3, -1)), expected.expand(3))


def test_the_bound_of_training_is_the_one_that_is_measured_and_its_kl_that_of_monte_carlo() -> None:
    model, images = ladder(), torch.rand(3, 1, 8, 8).double().round()
    batch = Batch(images.repeat_interleave(2000, 0), torch.arange(6000))
    terms = model.loss(batch, FakeTurn())
    each = {name: float(value) for name, value in terms.means.items()}
    assert each["kl_level_1"] + each["kl_level_2"] == pytest.approx(each["kl"])
    assert float(terms.total().detach()) == pytest.approx(each["reconstruction"] + each["kl"])
    measured = evidence_bound(model, images, 2000)
    assert -float(measured.values.mean()) == pytest.approx(each["reconstruction"] + each["kl"], rel=0.005)
    z = model.encode(batch.images).sample(torch.randn(6000, 5).double())
    drawn = model.encode(batch.images).log_prob(z) - normal_log_prob(z)
    assert float(drawn.mean().detach()) == pytest.approx(each["kl"], abs=0.2) and each["kl"] > 1
    # By hand, of the top: its Gaussian depends on the image alone.
    with torch.no_grad():
        own = model.encode(images).drawn(torch.zeros(3, 5).double())[1]
    mean, variance = own.mean[:, :3], own.log_variance[:, :3].exp()
    by_hand = 0.5 * (mean**2 + variance - 1 - variance.log()).sum(1).mean()
    assert each["kl_level_1"] == pytest.approx(float(by_hand))


def test_free_bits_are_those_of_a_level_and_the_warm_up_ends() -> None:
    batch = Batch(torch.rand(6, 1, 8, 8).double(), torch.arange(6))
    own = {k: float(v) for k, v in ladder().loss(batch, FakeTurn()).means.items()}
    less, more = sorted([own["kl_level_1"], own["kl_level_2"]])
    # Each level has so many, not each unit.
    for free, expected in ((more + 0.5, 2 * more + 1), ((less + more) / 2, (less + 3 * more) / 2), (less, less + more)):
        terms = ladder(free_bits=free).loss(batch, FakeTurn())
        assert float(terms.means["kl_above_free"]) == pytest.approx(expected)
    model = ladder(kl_warmup_images=100, beta=2.0)
    for images, training, weight in ((0, True, 0.0), (50, True, 1.0), (100, True, 2.0), (0, False, 2.0)):
        terms = model.loss(batch, FakeTurn(training, images))
        found = float(terms.total().detach() - terms.means["reconstruction"])
        assert found == pytest.approx(weight * float(terms.means["kl"]), abs=1e-6)


def test_several_codes_make_the_bound_that_is_measured() -> None:
    model, images = ladder(samples=5), torch.rand(3, 1, 8, 8).double().round()
    batch = Batch(images.repeat_interleave(2000, 0), torch.arange(6000))
    terms = model.loss(batch, FakeTurn())
    assert next(iter(terms.means)) == "bound" and float(terms.total().detach()) == float(terms.means["bound"])
    measured = importance_bound(model, batch.images, 5)
    assert float(terms.means["bound"]) == pytest.approx(-float(measured.values.mean()), rel=0.003)
    one = {name: float(value) for name, value in ladder().loss(batch, FakeTurn()).means.items()}
    assert float(terms.means["bound"]) < 0.99 * (one["reconstruction"] + one["kl"])  # tighter, by more than the noise
    for name in ("reconstruction", "kl", "kl_level_1", "kl_level_2"):  # numbers to watch are those of single codes
        assert float(terms.means[name]) == pytest.approx(one[name], rel=0.02), name
    assert 1 < float(terms.means["effective_samples"]) < 5


def test_several_codes_begin_when_they_are_told_to_and_validation_always_takes_them() -> None:
    batch = Batch(torch.rand(6, 1, 8, 8).double(), torch.arange(6))
    model = ladder(samples=3, samples_begin=100, kl_warmup_images=200)
    for images, training, several in ((0, True, False), (99, True, False), (100, True, True), (0, False, True)):
        assert ("bound" in model.loss(batch, FakeTurn(training, images)).means) == several
    # The KL's weight of a warm-up is that of log q - log p in the weights: none at all leaves the likelihood's mean.
    cold = ladder(samples=3, kl_warmup_images=200)
    found = cold.loss(batch, FakeTurn(True, 0)).means
    turn, posterior = FakeTurn(True, 0), cold.encode(batch.images).repeated(3)
    raw = cold.decoder(posterior.sample(turn.normal(18, 5)))
    each = cold.likelihood.log_prob(raw, batch.images.repeat_interleave(3, 0)).view(6, 3)
    assert torch.allclose(found["bound"], -(each.logsumexp(1) - math.log(3)).mean())


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"samples": 3, "beta": 2.0}, "samples = 3: importance weights need the whole bound"),
        ({"samples": 3, "free_bits": 0.5}, "leave out --beta, --free-bits and --reduction"),
        ({"samples": 3, "reduction": "mean"}, "samples = 3"),
        ({"samples_begin": 100}, "samples_begin = 100: .*add --samples"),
    ],
)
def test_what_several_codes_cannot_be_combined_with(settings: dict, rule: str) -> None:
    with pytest.raises(SettingError, match=rule):
        LadderVAESettings(**settings)


def test_without_skips_an_upper_level_is_heard_through_the_codes_below_only() -> None:
    """If the code below is the same, so is the image; with skips the level above shows by itself."""
    model, maps = ladder(skips=False), torch.randn(2, 16).double()
    level = model.decoder.levels[1]
    with torch.no_grad():
        level.read.weight.zero_()  # the code no longer depends on the map
        noise = torch.randn(1, 2).double().expand(2, -1)
        assert torch.equal(*level(maps, noise))
        level.keeps = True
        assert not torch.equal(*level(maps, noise))


def test_levels_share_the_latent_dimensions() -> None:
    assert LadderVAESettings(latent_dim=32, levels=3).dims == (12, 10, 10)
    with pytest.raises(SettingError, match="there are 2 latent dimensions, and each level needs one"):
        LadderVAESettings(latent_dim=2, levels=3)
