"""VQ-VAE: its codes, its bound, and when each of its players learns."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from morphospace.errors import SettingError
from morphospace.evaluation.likelihood import evidence_bound, importance_bound
from morphospace.models.contract import Quantises
from morphospace.training.engine import Engine
from morphospace.zoo.settings_vq import VQVAESettings
from tests.contracts.cases import Case, build, engine_for

SMALL = VQVAESettings(latent_dim=2, widths=(8, 8), blocks=1, entries=12, prior_width=16, prior_layers=2, prior_heads=2)


def trained(steps: int, **settings: object) -> Engine:
    engine = engine_for(Case(dataclasses.replace(SMALL, **settings), "vq-vae"))
    for _ in range(steps):
        engine.step()
    return engine


def test_a_code_has_as_many_numbers_at_each_place() -> None:
    model = build(Case(SMALL, "vq-vae"), (28, 20, 3))
    assert model.latent_dim == SMALL.code_length((28, 20, 3)) == 7 * 5 * 2 and isinstance(model, Quantises)
    assert [VQVAESettings().grid((side, side, 1)) for side in (28, 32, 64)] == [(7, 7), (8, 8), (8, 8)]


def test_decode_quantises_and_what_is_sampled_is_quantised() -> None:
    model = trained(3).model.eval()
    z = torch.randn(4, model.latent_dim)
    assert torch.equal(model.decode(z), model.decode(model.quantised(z)))
    assert torch.equal(model.numbers(z), model.numbers(model.quantised(z)))
    drawn = model.prior.from_noise(z)
    assert torch.allclose(drawn, model.quantised(drawn), atol=1e-6)


def test_validation_and_evaluation_are_the_same_bound() -> None:
    """-log p(x | e) - log p(e) of each image, with no commitment in it; importance sampling cannot tighten it."""
    engine = trained(5)
    model, images = engine.model.eval(), engine.data.batch(0).images
    with torch.no_grad():
        z = model.encode(images).mean
        likely = model.likelihood.log_prob(model.raw(z), images)
        wanted = likely + model.prior.log_prob(z)
    found = evidence_bound(model, images)
    assert torch.allclose(found.values.float(), wanted) and torch.equal(found.kl.float(), -model.prior.log_prob(z))
    assert torch.allclose(importance_bound(model, images, 50).values.float(), wanted)
    engine.valid = engine.data
    engine.valid.sequential = lambda: iter([engine.data.batch(0)])
    judged = engine.validate()
    assert judged is not None and judged.loss == pytest.approx(-float(wanted.mean()), rel=1e-5)


def test_the_code_costs_no_more_than_even_entries_once_the_prior_has_learned() -> None:
    engine = trained(60)
    model, images = engine.model.eval(), engine.data.batch(0).images
    places = math.prod(SMALL.grid((16, 16, 1)))
    with torch.no_grad():
        assert -model.prior.log_prob(model.encode(images).mean).mean() < 0.9 * places * math.log(12)


def test_first_the_autoencoder_learns_and_then_the_prior_alone() -> None:
    engine = trained(0, autoencoder_images=4 * 16)

    def state(name: str) -> torch.Tensor:
        return torch.cat([t.detach().flatten().clone() for t in engine.model.networks[name].state_dict().values()])

    begun = {name: state(name) for name in ("encoder", "decoder", "codebook", "prior")}
    while engine.clock.images < 64:
        engine.step()
    turned = {name: state(name) for name in begun}
    assert torch.equal(turned["prior"], begun["prior"]) and not torch.equal(turned["encoder"], begun["encoder"])
    for _ in range(3):
        engine.step()
    ended = {name: state(name) for name in begun}
    assert not torch.equal(ended["prior"], turned["prior"])
    assert all(torch.equal(ended[name], turned[name]) for name in ("encoder", "decoder", "codebook"))


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(SettingError, match="prior_heads = 5: must divide the 96 channels"):
        VQVAESettings(prior_heads=5)
