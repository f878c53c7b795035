"""Autoencoders with other regularisers: each loss against the paper's formula by hand, and at its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from morphospace.errors import SettingError
from morphospace.models.contract import Model
from morphospace.models.priors import Normal
from morphospace.objectives.discrepancy import squared_mmd
from morphospace.objectives.moments import covariance, from_identity
from morphospace.objectives.penalties import squared_jacobian
from morphospace.objectives.terms import Terms
from morphospace.training.turn import EngineTurn
from morphospace.zoo.settings import (
    AAESettings,
    AESettings,
    DIPVAESettings,
    InfoVAESettings,
    RAESettings,
    VAESettings,
    WAESettings,
)
from tests.contracts.cases import Case, engine_for
from tests.zoo.test_vaes import MLP, FakeTurn, batch_of, model_of


def weights_of(terms: Terms) -> dict[str, float]:
    return {name: weight for name, _, weight in terms.weighted}


def with_weights_of(other: Model, settings: Any) -> Any:
    model = model_of(settings)
    model.networks.load_state_dict(other.networks.state_dict())
    return model


def total(terms: Terms) -> float:
    return float(terms.total().detach())


# -- wae --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_wae_is_the_summed_error_and_the_weighed_discrepancy(kernel: str) -> None:
    model, batch = model_of(WAESettings(**MLP, lambda_=30.0, kernel=kernel)), batch_of()
    assert isinstance(model.prior, Normal)
    terms = model.loss(batch, FakeTurn())
    z = model.encoder(batch.images)
    error = ((model.decode(z) - batch.images) ** 2).sum() / 6  # over all pixels of an image: no mean
    prior = FakeTurn().normal(6, 3)
    assert total(terms) == pytest.approx(float((error + 30 * squared_mmd(z, prior, kernel)).detach()), rel=1e-5)
    assert weights_of(terms) == {"reconstruction": 1.0, "mmd": 30.0}


def test_the_discrepancy_draws_codes_to_the_prior_and_apart() -> None:
    z = torch.nn.Parameter(3 + 0.1 * FakeTurn().normal(32, 2))
    optimizer, turn = torch.optim.Adam([z], lr=0.1), FakeTurn()
    for _ in range(30):
        optimizer.zero_grad()
        squared_mmd(z, turn.normal(32, 2)).backward()
        optimizer.step()
    assert z.mean(0).abs().max() < 2 and z.var(0).min() > 0.03  # from 3 and 0.01


# -- info-vae ---------------------------------------------------------------------------------------------------------


@given(alpha=st.floats(-3, 1), more=st.floats(0, 50))
@settings(max_examples=20, deadline=None)
def test_info_vae_weighs_as_the_paper_does(alpha: float, more: float) -> None:
    model = model_of(InfoVAESettings(**MLP, alpha=alpha, lambda_=1 - alpha + more))
    weights = weights_of(model.loss(batch_of(), FakeTurn()))
    assert weights == pytest.approx({"reconstruction": 1.0, "kl": 1 - alpha, "mmd": more}, abs=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (0.7, 0.3), (-3.0, 4.0)])
def test_info_vae_with_lambda_1_minus_alpha_is_the_vae_with_beta_1_minus_alpha(alpha: float, beta: float) -> None:
    plain = model_of(VAESettings(**MLP, beta=beta))
    info = with_weights_of(plain, InfoVAESettings(**MLP, alpha=alpha, lambda_=round(1 - alpha, 6)))
    for training in (True, False):
        mine, theirs = (m.loss(batch_of(), FakeTurn(training)) for m in (info, plain))
        assert total(mine) == pytest.approx(total(theirs), rel=1e-6)


def test_info_vae_without_spread_at_alpha_1_is_wae() -> None:
    """An encoder that samples with almost no variance is one that does not sample."""
    info = model_of(InfoVAESettings(**MLP, alpha=1.0, lambda_=30.0, likelihood="squared-error"))
    wae = model_of(WAESettings(**MLP, lambda_=30.0))
    with torch.no_grad():
        info.encoder.head.weight[3:], info.encoder.head.bias[3:] = 0.0, -30.0
        wae.encoder.body.load_state_dict(info.encoder.body.state_dict())
        wae.encoder.head.weight.copy_(info.encoder.head.weight[:3])
        wae.encoder.head.bias.copy_(info.encoder.head.bias[:3])
        wae.decoder.load_state_dict(info.decoder.state_dict())
    turns = FakeTurn(), FakeTurn()
    turns[1].normal(6, 3)  # what the other draws for its codes
    mine, theirs = info.loss(batch_of(), turns[0]), wae.loss(batch_of(), turns[1])
    assert total(mine) == pytest.approx(total(theirs), rel=1e-5)


def test_info_vae_refuses_an_mmd_of_less_than_nothing() -> None:
    with pytest.raises(SettingError, match=r"lambda = 0\.2: must be at least 1 - alpha = 0\.5"):
        InfoVAESettings(alpha=0.5, lambda_=0.2)
    assert InfoVAESettings(alpha=0.7, lambda_=0.3).mmd_weight == 0


# -- rae --------------------------------------------------------------------------------------------------------------


def test_rae_adds_the_length_of_codes_and_the_decoders_weights() -> None:
    model, batch = model_of(RAESettings(**MLP, regulariser="l2", weight=0.01, beta=0.3)), batch_of()
    terms, z = model.loss(batch, FakeTurn()), model.encoder(batch.images)
    error = ((model.decode(z) - batch.images) ** 2).sum() / 6
    length = 0.5 * (z**2).sum() / 6
    weights = sum((p**2).sum() for p in model.decoder.parameters())
    assert total(terms) == pytest.approx(float((error + 0.3 * length + 0.01 * weights).detach()), rel=1e-5)


def test_the_gradient_penalty_is_the_sum_of_squared_derivatives_of_the_pixels() -> None:
    """By the whole Jacobian, image by image; the projections' mean is within four standard errors of it."""
    model, batch = model_of(RAESettings(**MLP, weight=0.7)), batch_of(2)
    with torch.no_grad():
        model.decoder.head.weight.mul_(10)
    z = model.encoder(batch.images).detach().requires_grad_()
    jacobians = torch.autograd.functional.jacobian(model.decode, z)  # (B, C, H, W, B, D)
    exact = torch.stack([jacobians[i, ..., i, :].square().sum() for i in range(2)])
    assert float(jacobians[0, ..., 1, :].abs().max()) == 0
    images, probe = model.decode(z), FakeTurn().normal(2, 1, 8, 8)
    one = squared_jacobian(images, z, probe)
    by_hand = torch.stack(
        [torch.einsum("chw,chwd->d", probe[i], jacobians[i, ..., i, :]).square().sum() for i in (0, 1)]
    )
    assert torch.allclose(one, by_hand, rtol=1e-4)
    turn = FakeTurn()
    many = torch.stack([squared_jacobian(model.decode(z), z, turn.normal(2, 1, 8, 8)).detach() for _ in range(1000)])
    assert ((many.mean(0) - exact).abs() < 4 * many.std(0) / 1000**0.5).all()
    terms = model.loss(batch, FakeTurn())
    assert float(terms.means["gradient_penalty"]) == pytest.approx(float(one.mean().detach()), rel=1e-4)
    assert weights_of(terms) == {"reconstruction": 1.0, "code_length": 1.0, "gradient_penalty": 0.7}
    assert "gradient_penalty" not in model.loss(batch, FakeTurn(training=False)).means


def test_the_gradient_penalty_is_what_noise_on_the_codes_costs() -> None:
    """E |G(z + e) - G(z)|^2 = s |dG/dz|^2 for small noise e of variance s, which is what its weight means."""
    model, batch = model_of(RAESettings(**MLP)), batch_of()
    z, turn, s = model.encoder(batch.images).detach().requires_grad_(), FakeTurn(), 1e-4
    with torch.no_grad():
        moved = [((model.decode(z + s**0.5 * turn.normal(6, 3)) - model.decode(z)) ** 2).sum() for _ in range(2000)]
    probes = [squared_jacobian(model.decode(z), z, turn.normal(6, 1, 8, 8)).sum().detach() for _ in range(2000)]
    assert float(torch.stack(moved).mean()) == pytest.approx(s * float(torch.stack(probes).mean()), rel=0.08)


@pytest.mark.parametrize("tower", ["mlp", "conv"])
def test_a_spectral_decoder_has_layers_whose_largest_singular_value_is_1(tower: str) -> None:
    widths = (6, 8) if tower == "conv" else (16,)
    model = model_of(RAESettings(latent_dim=3, tower=tower, widths=widths, regulariser="spectral"))
    layers = [m for m in model.decoder.modules() if isinstance(m, nn.Linear | nn.ConvTranspose2d)]
    assert len(layers) == len(widths) + 1
    model.decoder.train()
    for layer in layers:
        for _ in range(200):  # steps of the power iteration
            weight = layer.weight
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        matrix = weight.detach().movedim(outputs, 0).flatten(1)
        assert float(torch.linalg.svdvals(matrix)[0]) == pytest.approx(1, rel=1e-3)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.decoder.modules())
    if tower == "conv":
        assert any(isinstance(m, nn.BatchNorm2d) for m in model.encoder.modules())


def test_rae_with_everything_off_is_the_autoencoder() -> None:
    plain = model_of(AESettings(**MLP))
    mine = with_weights_of(plain, RAESettings(**MLP, regulariser="none", beta=0.0)).loss(batch_of(), FakeTurn())
    assert total(mine) == pytest.approx(total(plain.loss(batch_of(), FakeTurn())), rel=1e-6)


def test_rae_refuses_a_weight_of_nothing() -> None:
    for regulariser in ("spectral", "none"):
        with pytest.raises(SettingError, match="weight = 1"):
            RAESettings(regulariser=regulariser, weight=1.0)  # type: ignore[arg-type]


# -- aae --------------------------------------------------------------------------------------------------------------


def test_the_phases_of_aae_by_hand() -> None:
    engine = engine_for(Case(AAESettings(**MLP, critic_widths=(8,)), "aae"))
    model, batch = engine.model, engine.data.batch(0)
    turns: dict[str, EngineTurn] = {}
    for name in ("autoencoder", "critic", "encoder"):
        engine.memo = {}
        turns[name] = engine.turn(name)
        turns[name].seed(name)
    z = model.encoder(batch.images)
    error = ((model.decode(z) - batch.images) ** 2).sum() / 8
    assert total(model.loss(batch, turns["autoencoder"])) == pytest.approx(float(error.detach()), rel=1e-5)

    critic = model.critic_loss(batch, turns["critic"])
    turns["critic"].seed("critic")
    on_prior, on_codes = (model.critic(each).sigmoid() for each in (torch.randn(8, 3), z))
    wanted = -(on_prior.log().mean() + (1 - on_codes).log().mean())
    assert total(critic) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert float(critic.means["score_fake"]) == pytest.approx(float(on_codes.mean().detach()), rel=1e-5)

    against = model.encoder_loss(batch, turns["encoder"])
    assert total(against) == pytest.approx(float(-on_codes.log().mean().detach()), rel=1e-5)
    against.total().backward()
    assert model.encoder.head.weight.grad.abs().sum() > 0
    rates = {phase.name: phase.lr for phase in model.rounds()}
    assert rates == {"autoencoder": None, "critic": 1e-3, "encoder": 1e-4}


# -- dip-vae ----------------------------------------------------------------------------------------------------------


def test_the_moments_are_those_of_numpy_and_of_sampled_codes() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(50, 3, generator=generator) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.0, 2.0]])
    variances = torch.rand(50, 3, generator=generator)
    assert np.allclose(covariance(means), np.cov(means.T.numpy()), atol=1e-5)
    codes = means[:, None] + variances.sqrt()[:, None] * torch.randn(50, 20_000, 3, generator=generator)
    sampled = np.cov(codes.flatten(0, 1).T.numpy())
    # The rows above are divided by B - 1, these by B.
    assert np.allclose(covariance(means, variances), sampled + np.cov(means.T.numpy()) / 50, atol=0.02)


@pytest.mark.parametrize(("variant", "ratio"), [("I", 10.0), ("II", 1.0)])
def test_dip_vae_adds_the_distance_of_the_covariance_from_the_identity(variant: str, ratio: float) -> None:
    model, batch = model_of(DIPVAESettings(**MLP, variant=variant, off_diagonal=3.0)), batch_of()
    plain = with_weights_of(model, VAESettings(**MLP))
    posterior = model.encode(batch.images)
    found = np.cov(posterior.mean.detach().T.numpy())
    if variant == "II":
        found = found + np.diag(posterior.log_variance.exp().mean(0).detach().numpy())
    off = sum(found[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
    diagonal = sum((found[i, i] - 1) ** 2 for i in range(3))
    expected = total(plain.loss(batch, FakeTurn())) + 3 * off + 3 * ratio * diagonal
    terms = model.loss(batch, FakeTurn())
    assert total(terms) == pytest.approx(expected, rel=1e-5)
    assert weights_of(terms)["diagonal"] == 3 * ratio


@given(dim=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_both_distances_together_are_the_frobenius_distance(dim: int, seed: int) -> None:
    root = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = root @ root.T
    off, diagonal = from_identity(found)
    assert float(off + diagonal) == pytest.approx(float((found - torch.eye(dim)).square().sum()), rel=1e-9)


def test_dip_vae_refuses_a_learned_prior() -> None:
    with pytest.raises(SettingError, match="prior = 'flow': is learned"):
        DIPVAESettings(prior="flow")
