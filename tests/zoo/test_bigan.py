"""BiGAN: each player's loss by hand, whom it pulls where, and that with the best critic E becomes the inverse of G."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.errors import SettingError
from morphospace.models.contract import Encodes, Scores
from morphospace.models.layers import PairCritic
from morphospace.runs.codes import usual_prior
from morphospace.training.engine import Engine
from morphospace.training.turn import EngineTurn
from morphospace.zoo.settings import BiGANSettings
from tests.contracts.cases import Case, engine_for
from tests.zoo.test_vaes import FakeTurn

SMALL: dict[str, Any] = {"latent_dim": 5, "widths": (6, 8), "pair_width": 12}
PLAIN: dict[str, Any] = {**SMALL, "init": "default", "r1": 0.0, "penalty_every": 1, "code_error": 0.0}


def engine_of(settings: BiGANSettings, **training: Any) -> Engine:
    return engine_for(Case(settings, "bigan"), **training)


def turn_of(engine: Engine, phase: str) -> EngineTurn:
    engine.memo = {}
    turn = engine.turn(phase)
    turn.seed(phase)
    return turn


def weights(engine: Engine, *names: str) -> list[Tensor]:
    return [p.detach().clone() for name in names for p in engine.model.networks[name].parameters()]


def judged(engine: Engine) -> tuple[float, float]:
    """Return the critic's mean logit of (x, E(x)) and of (G(z), z)."""
    pairs = engine.model.pairs(engine.data.batch(0), turn_of(engine, "critic"))
    return float(pairs.real.judged.detach().mean()), float(pairs.fake.judged.detach().mean())


def test_the_losses_by_hand() -> None:
    engine = engine_of(BiGANSettings(**PLAIN))
    model, batch = engine.model, engine.data.batch(0)
    assert isinstance(model, Encodes) and isinstance(model, Scores)
    turn = turn_of(engine, "critic")
    critic = model.critic_loss(batch, turn)
    others = model.generator_loss(batch, turn)
    turn.seed("pairs")
    z = turn.normal(8, 5)
    d_real = model.critic(batch.images, model.encoder(batch.images)).sigmoid()
    d_fake = model.critic(torch.tanh(model.generator(z)), z).sigmoid()
    wanted = -(d_real.log() + (1 - d_fake).log()).mean()
    assert float(critic.total().detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    assert float(others.means["adversarial"]) == pytest.approx(float(-d_fake.log().mean().detach()), rel=1e-4)
    assert float(others.means["encoder"]) == pytest.approx(float(-(1 - d_real).log().mean().detach()), rel=1e-4)
    assert torch.allclose(model.score(batch.images), torch.logit(d_real).squeeze(1), atol=1e-4)


@pytest.mark.parametrize(("phase", "on_real", "on_fake"), [("critic", 1, -1), ("generator", -1, 1)])
def test_whom_each_turn_pulls_where(phase: str, on_real: int, on_fake: int) -> None:
    engine = engine_of(BiGANSettings(**PLAIN, lr=3e-3))
    before = judged(engine)
    (players,) = engine.rounds
    for _ in range(15):
        engine.memo = {}
        engine.play([one for one in players if one.name == phase], engine.data.batch(0))
    after = judged(engine)
    assert on_real * (after[0] - before[0]) > 0.01 and on_fake * (after[1] - before[1]) > 0.01


def test_all_players_move_by_gradients_at_the_same_weights() -> None:
    """A critic that moved first would decide what the others learn; its rate must make no difference to them."""
    slow, fast = (engine_of(BiGANSettings(**PLAIN, critic_lr=rate)) for rate in (1e-6, 1.0))
    for engine in (slow, fast):
        engine.step()
    for name in ("generator", "encoder"):
        assert all(torch.equal(a, b) for a, b in zip(weights(slow, name), weights(fast, name)))
    assert not all(torch.allclose(a, b) for a, b in zip(weights(slow, "critic"), weights(fast, "critic")))


def test_both_penalties_are_over_an_image_and_its_code() -> None:
    engine = engine_of(BiGANSettings(**{**PLAIN, "r1": 2.0, "r2": 3.0}))
    model, batch = engine.model, engine.data.batch(0)
    turn = turn_of(engine, "critic")
    terms = model.critic_loss(batch, turn)
    turn.seed("pairs")
    z = turn.normal(8, 5)
    for name, images, codes, gamma in (
        ("r1", batch.images, model.encoder(batch.images), 2.0),
        ("r2", torch.tanh(model.generator(z)), z, 3.0),
    ):
        pair = [value.detach().requires_grad_() for value in (images, codes)]
        found = torch.autograd.grad(model.critic(*pair).sum(), pair)
        wanted = sum(gradient.square().sum() for gradient in found) / 2 / 8
        assert float(terms.means[name]) == pytest.approx(float(wanted), rel=1e-4)
        assert {one: weight for one, _, weight in terms.weighted}[name] == gamma
    lazy = engine_of(BiGANSettings(**{**PLAIN, "r1": 2.0, "penalty_every": 4}))
    assert [phase.name for phase in lazy.phases] == ["critic", "generator", "penalty"]
    before = weights(lazy, "critic")
    lazy.play([lazy.phases[2]], lazy.data.batch(0))
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(lazy, "critic")))


def test_the_error_of_a_code_teaches_the_encoder_alone() -> None:
    engine = engine_of(BiGANSettings(**{**PLAIN, "code_error": 3.0}))
    model, batch, turn = engine.model, engine.data.batch(0), turn_of(engine, "generator")
    terms = model.generator_loss(batch, turn)
    turn.seed("pairs")
    z = turn.normal(8, 5)
    again = model.encoder(torch.cat([batch.images, model.decode(z)]))[8:]
    assert float(terms.means["code_error"]) == pytest.approx(float((again - z).square().mean().detach()), rel=1e-4)
    name, mean, weight = terms.weighted[-1]
    assert (name, weight) == ("code_error", 3.0)
    to_generator = torch.autograd.grad(mean, list(model.generator.parameters()), retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in to_generator)
    assert torch.autograd.grad(mean, model.encoder.head.weight)[0].abs().sum() > 0


def test_the_critic_sees_whether_an_image_and_a_code_go_together() -> None:
    """f(x, z) - f(x, z') depends on x, which no sum of a judgement of images and one of codes does."""
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Flatten(), nn.Linear(4, 6))
    critic = PairCritic(tower, 3, 6, 0.2)
    images, codes = torch.randn(2, 1, 2, 2), torch.randn(2, 3)
    table = torch.stack([critic(images, code.expand(2, 3)).squeeze(1) for code in codes])
    assert (table[0, 0] - table[1, 0] - table[0, 1] + table[1, 1]).abs().item() > 1e-4


class Best(nn.Module):
    """The optimal critic of pairs from two Gaussians: log N(pair; 0, P) - log N(pair; 0, Q)."""

    def __init__(self, p: Tensor, q: Tensor) -> None:
        super().__init__()
        self.quadratic = 0.5 * (torch.linalg.inv(q) - torch.linalg.inv(p))
        self.constant = 0.5 * torch.log(torch.det(q) / torch.det(p))

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        pair = torch.stack([images.flatten(1).mean(1), codes[:, 0]], 1)
        return (torch.einsum("bi,ij,bj->b", pair, self.quadratic, pair) + self.constant)[:, None]


class Quantiles(FakeTurn):
    """Gives evenly spaced quantiles of N(0, 1), whatever is asked for: an expectation becomes a sum."""

    values = torch.special.ndtri((torch.arange(64) + 0.5) / 64)[:, None]

    def normal(self, *shape: int) -> Tensor:
        return self.values.clone()


@pytest.mark.parametrize(("g", "e"), [(0.3, 0.5), (-0.1, -9.0)])
def test_against_the_best_critic_the_encoder_becomes_the_inverse_of_a_linear_generator(g: float, e: float) -> None:
    """x ~ N(0, s^2), G(z) = g z, E(x) = e x: the only optimum is |g| = s and e = 1 / g.

    Both kinds of pairs are Gaussians of known covariance. A little noise, in the critic only, keeps them of full rank.
    """
    s, noise, steps = 0.2, torch.diag(torch.tensor([0.05, 0.25]).square()), 100
    model = BiGANSettings(**{**PLAIN, "latent_dim": 1, "widths": (4,)}).build((8, 8, 1))
    g_times, e_times = nn.Parameter(torch.tensor(g)), nn.Parameter(torch.tensor(e))
    model.generator = lambda z: torch.atanh((g_times * z).clamp(-0.999, 0.999))[:, :, None, None]  # tanh is to follow
    model.encoder = lambda x: e_times * x.flatten(1)
    turn = Quantiles()
    batch = Batch((s * turn.values)[:, :, None, None], torch.arange(64))
    optimizer = torch.optim.Adam([{"params": g_times, "lr": 0.02}, {"params": e_times, "lr": 0.5}], betas=(0.5, 0.9))
    slower = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        factor, inverse = g_times.item(), e_times.item()
        p = s**2 * torch.tensor([[1.0, inverse], [inverse, inverse**2]])
        q = torch.tensor([[factor**2, factor], [factor, 1.0]])
        model.critic = Best(p + noise, q + noise)
        optimizer.zero_grad()
        model.generator_loss(batch, turn).total().backward()
        optimizer.step()
        slower.step()
    assert abs(g_times.item()) == pytest.approx(s, rel=0.02)
    assert g_times.item() * e_times.item() == pytest.approx(1, rel=0.02)


def test_samples_are_from_the_prior_wherever_its_encoder_puts_images(tmp_path: Path) -> None:
    model = BiGANSettings(**SMALL).build((16, 16, 1))
    assert usual_prior(SimpleNamespace(model=model, checkpoint=tmp_path, raw=False)) == "model"
    assert not list(tmp_path.iterdir())  # no code was looked at


@pytest.mark.parametrize("setting", [{"turns": 2}, {"replay": 0.5}, {"feature_matching": 1.0}, {"share_fakes": True}])
def test_settings_of_a_critic_of_images_alone_are_refused(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(SettingError, match=f"{name} = .*judges pairs"):
        BiGANSettings(**setting)


def test_own_networks_may_replace_generator_and_encoder() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, 5))
    model = BiGANSettings(**SMALL).build((16, 16, 1), {"encoder": encoder})
    assert model.networks["encoder"] is encoder
    with pytest.raises(SettingError, match="no such part"):
        BiGANSettings(**SMALL).build((16, 16, 1), {"critic": encoder})
