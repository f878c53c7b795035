"""VAE-GAN: at lambda = 0 the plain VAE byte for byte, and each loss against a value computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.models.contract import Model
from morphospace.training.engine import Engine
from morphospace.training.turn import EngineTurn
from morphospace.zoo.settings import VAEGANSettings, VAESettings
from tests.contracts.cases import Case, engine_for

SMALL: dict[str, Any] = {"latent_dim": 5, "widths": (6, 8)}
CRITIC: dict[str, Any] = {"critic_widths": (6, 8)}


def engine_of(settings: VAESettings, **training: Any) -> Engine:
    return engine_for(Case(settings, settings.name), **training)


def turn_of(engine: Engine, phase: str, training: bool = True) -> EngineTurn:
    engine.memo = {}
    turn = engine.turn(phase, training=training)
    turn.seed(phase)
    return turn


def vae_state(model: Model) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.networks.state_dict().items() if not name.startswith("critic")}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("mixing", ["sum", "mix"])
@pytest.mark.parametrize(
    "more",
    [
        {"judged": "both"},
        {"judged": "samples", "draws": 2, "kl": "sampled"},
        {"likelihood": "gaussian", "dequantise": True, "kl_warmup_images": 30, "judged": "reconstructions"},
        {"tower": "mlp", "beta": 3.0, "optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=["both", "samples", "dequantised", "mlp"],
)
def test_at_lambda_0_it_is_the_plain_vae_step_for_step(precision: str, mixing: str, more: dict[str, Any]) -> None:
    common = {**SMALL, "betas": VAEGANSettings.betas, **{key: value for key, value in more.items() if key != "judged"}}
    plain = engine_of(VAESettings(**common), precision=precision, clip=3.0)
    both = VAEGANSettings(**SMALL, **CRITIC, **more, lambda_=0.0, mixing=mixing)  # type: ignore[arg-type]
    engine = engine_of(both, precision=precision, clip=3.0)
    for _ in range(5):
        wanted, found = plain.model.networks.state_dict(), vae_state(engine.model)
        assert wanted.keys() == found.keys()
        assert all(torch.equal(wanted[name], found[name]) for name in wanted)  # weights and buffers, before each step
        plain.step()
        engine.step()
    critic = engine.model.networks["critic"].state_dict()
    fresh = engine_of(both, precision=precision, clip=3.0).model.networks["critic"].state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in critic.items())  # it watches, and learns


def test_the_critic_only_watches_at_lambda_0_and_matters_above() -> None:
    def after(lambda_: float) -> dict[str, torch.Tensor]:
        engine = engine_of(VAEGANSettings(**SMALL, **CRITIC, lambda_=lambda_))
        before = {name: p.clone() for name, p in engine.model.networks["critic"].named_parameters()}
        for _ in range(2):
            engine.step()
        assert any(not torch.equal(before[n], p) for n, p in engine.model.networks["critic"].named_parameters())
        return vae_state(engine.model)

    watched, played = after(0.0), after(0.1)
    assert any(not torch.equal(watched[name], played[name]) for name in watched)


def test_sum_and_mix_are_the_sums_they_say() -> None:
    """With r1 off and one draw, each part from its own formula."""
    values = 16 * 16
    for mixing, lambda_, share in (("sum", 0.25, 1.0), ("mix", 0.25, 0.75), ("mix", 1.0, 0.0)):
        settings = VAEGANSettings(**SMALL, **CRITIC, beta=2.0, lambda_=lambda_, mixing=mixing, judged="reconstructions")
        engine = engine_of(settings)
        model, batch = engine.model, engine.data.batch(0)
        total = float(model.loss(batch, turn_of(engine, "vae")).total())
        # By hand: the stream of the phase draws one (B, D) of noise.
        turn_of(engine, "vae")
        noise = torch.randn(8, 5)
        mean, log_variance = model.encoder(batch.images).chunk(2, 1)
        logits = model.decoder(mean + (0.5 * log_variance).exp() * noise)
        entropy = functional.binary_cross_entropy_with_logits(logits, batch.images, reduction="sum") / 8
        normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum() / 8
        judged = model.critic(2 * logits.sigmoid() - 1).sigmoid()
        wanted = share * (entropy + 2.0 * kl) - lambda_ * values * judged.log().mean()
        assert total == pytest.approx(float(wanted), rel=1e-5)


def test_the_critic_sees_as_much_real_as_fake() -> None:
    settings = VAEGANSettings(**SMALL, **CRITIC, judged="both", r1=0.0)
    engine = engine_of(settings)
    model, batch = engine.model, engine.data.batch(0)
    loss = model.critic_loss(batch, turn_of(engine, "critic"))
    turn_of(engine, "vae")
    noise, prior = torch.randn(8, 5), torch.randn(8, 5)
    mean, log_variance = model.encoder(batch.images).chunk(2, 1)
    images = model.decoder(torch.cat([mean + (0.5 * log_variance).exp() * noise, prior])).sigmoid()
    fake = [model.critic(2 * x - 1).sigmoid() for x in images.split(8)]
    real = model.critic(2 * batch.images - 1).sigmoid()
    wanted = -real.log().mean() - 0.5 * sum((1 - p).log().mean() for p in fake)
    assert float(loss.total()) == pytest.approx(float(wanted), rel=1e-5)
    assert set(loss.means) == {"real", "fake", "score_real", "score_fake"}


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_what_batch_norm_keeps_is_of_all_that_is_decoded_at_a_step(space: str) -> None:
    """Codes and prior lie far apart; the statistics kept must be those of both together, as they are used later."""
    engine = engine_of(VAEGANSettings(**SMALL, **CRITIC, reconstruction_space=space))  # type: ignore[arg-type]
    model, batch = engine.model, engine.data.batch(0)
    model.encoder.head.bias.data[:5] = 4.0  # what codes' means begin from
    norms = [m for m in model.decoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        norm.momentum = 1.0
    turn = turn_of(engine, "critic")
    losses = [model.critic_loss] if space == "pixels" else [model.encoder_loss, model.simultaneous_critic_loss]
    for loss in losses:
        loss(batch, turn)
    kept = [norm.running_mean.clone() for norm in norms]
    turn_of(engine, "vae")
    noise, prior = torch.randn(8, 5), torch.randn(8, 5)
    mean, log_variance = model.encoder(batch.images).chunk(2, 1)
    model.decoder(torch.cat([mean + (0.5 * log_variance).exp() * noise, prior]))
    assert all(torch.allclose(a, n.running_mean, atol=1e-5) for a, n in zip(kept, norms))


def test_what_lambda_weighs_follows_the_reduction() -> None:
    units = {
        (unit, reduction): engine_of(
            VAEGANSettings(**SMALL, **CRITIC, adversarial_unit=unit, reduction=reduction)
        ).model.unit  # type: ignore[arg-type]
        for unit in ("image", "value")
        for reduction in ("sum", "mean")
    }
    values = engine_of(VAEGANSettings(**SMALL, **CRITIC)).data.batch(0).images[0].numel()
    assert units == {("image", "sum"): 1, ("image", "mean"): 1, ("value", "sum"): values, ("value", "mean"): 1}


def test_features_are_compared_at_unit_variance() -> None:
    """Up to its constant the distance is minus the log density of N(f(x'), I) at f(x)."""
    settings = VAEGANSettings(**SMALL, **CRITIC, reconstruction_space="features", judged="reconstructions")
    engine = engine_of(settings)
    model, batch = engine.model, engine.data.batch(0)
    encoder = model.encoder_loss(batch, turn_of(engine, "encoder"))
    decoder = model.decoder_loss(batch, turn_of(engine, "decoder"))
    turn_of(engine, "vae")
    noise = torch.randn(8, 5)
    mean, log_variance = model.encoder(batch.images).chunk(2, 1)
    image = model.decoder(mean + (0.5 * log_variance).exp() * noise).sigmoid()
    real, rebuilt = (model.critic.features(2 * x - 1) for x in (batch.images, image))
    unit = torch.distributions.Independent(torch.distributions.Normal(rebuilt, torch.ones_like(rebuilt)), 1)
    distance = unit.log_prob(rebuilt).mean() - unit.log_prob(real).mean()
    assert float(encoder.means["features"]) == pytest.approx(float(distance), rel=1e-4)
    assert float(encoder.total()) == pytest.approx(float(distance + encoder.means["kl"]), rel=1e-4)
    adversarial = -model.critic.head(model.critic.features(2 * image - 1)).sigmoid().log().mean()
    assert float(decoder.total()) == pytest.approx(float(distance + settings.lambda_ * 256 * adversarial), rel=1e-4)
    assert "mse" in encoder.means and "kl" not in decoder.means


def test_three_players_learn_from_the_same_moment() -> None:
    """All gradients are taken before any of the three moves: the first step equals three single ones from the start."""
    settings = VAEGANSettings(**SMALL, **CRITIC, reconstruction_space="features")
    together = engine_of(settings)
    assert [[phase.name for phase in phases] for phases in together.rounds] == [["encoder", "decoder", "critic"]]
    together.step()
    for number, name in enumerate(("encoder", "decoder", "critic")):
        alone = engine_of(settings)
        alone.play([alone.phases[number]], alone.data.batch(0))
        wanted, found = alone.model.networks[name], together.model.networks[name]
        assert all(torch.equal(a, b) for a, b in zip(wanted.parameters(), found.parameters()))


@pytest.mark.parametrize("more", [{}, {"mixing": "mix", "lambda_": 1.0}, {"reconstruction_space": "features"}], ids=str)
def test_validation_is_the_plain_vaes(more: dict[str, Any]) -> None:
    plain, engine = engine_of(VAESettings(**SMALL)), engine_of(VAEGANSettings(**SMALL, **CRITIC, **more))
    losses = []
    for e in (plain, engine):
        (phase,) = [phase for phase in e.phases if phase.validates]
        e.model.networks.eval()
        with torch.no_grad():
            losses.append(float(phase.loss(e.data.batch(0), turn_of(e, phase.name, training=False)).total()))
    assert losses[0] == losses[1]


def test_what_cannot_go_together_is_refused() -> None:
    for values, message in (
        ({"lambda_": 2.0, "mixing": "mix"}, "lambda = 2.0: must be from 0 to 1 with --mixing mix"),
        ({"lambda_": -1.0}, "lambda = -1.0"),
        ({"critic_norm": "batch"}, "r1 = 0.1: .* --critic-norm none or --r1 0"),
        (
            {"reconstruction_space": "features", "likelihood": "gaussian", "variance": "learned"},
            "reconstruction_space = 'features': a learned variance",
        ),
    ):
        with pytest.raises(SettingError, match=message):
            VAEGANSettings(**values)  # type: ignore[arg-type]
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 1))
    assert VAEGANSettings(**SMALL).build((16, 16, 1), {"critic": critic}).networks["critic"] is critic
    with pytest.raises(SettingError, match="compares features of the built-in critic"):
        VAEGANSettings(**SMALL, reconstruction_space="features").build((16, 16, 1), {"critic": critic})


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_a_learned_prior_learns_in_one_phase(space: str) -> None:
    model = VAEGANSettings(
        latent_dim=4,
        widths=(8,),
        critic_widths=(8,),
        reconstruction_space=space,
        prior="flow",  # type: ignore[arg-type]
    ).build((16, 16, 1))
    phases = [phase for turn in model.rounds() for phase in (turn if isinstance(turn, tuple) else (turn,))]
    assert sum(model.networks["prior"] in phase.learns for phase in phases) == 1
