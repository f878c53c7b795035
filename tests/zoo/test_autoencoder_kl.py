"""The autoencoder of latent diffusion: its terms, its codes, its critic, and when that begins."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import morphospace as ms
from morphospace.errors import SettingError
from morphospace.evaluation import learned
from morphospace.objectives.perceptual import perceptual_distance
from morphospace.runs.checkpoints import load_tensors, pointed
from morphospace.tools.evaluate.extractors import learned_network
from morphospace.training.engine import Engine
from morphospace.zoo.settings_latent import AutoencoderKLSettings
from tests.conftest import draw_blobs
from tests.contracts.cases import Case, build, engine_for

SMALL = AutoencoderKLSettings(latent_dim=2, widths=(4, 8, 8), groups=2, critic_widths=(8, 8), adversarial_begins=0)


def trained(steps: int, **settings: Any) -> Engine:
    engine = engine_for(Case(dataclasses.replace(SMALL, **settings), "kl"))
    for _ in range(steps):
        engine.step()
    return engine


def test_a_code_is_a_map_that_is_halved_once_less_than_there_are_widths() -> None:
    model = build(Case(SMALL, "kl"), (28, 20, 3))
    assert model.decoder.places == (2, 7, 5) and model.latent_dim == SMALL.code_length((28, 20, 3)) == 70
    assert AutoencoderKLSettings().code_length((64, 64, 3)) == 4 * 16 * 16


def test_images_that_cannot_be_halved_and_widths_without_groups_are_refused() -> None:
    with pytest.raises(SettingError, match=r"size = '30x28': its sides must be multiples of 4.* add --size 28x28"):
        build(Case(SMALL, "kl"), (30, 28, 1))
    with pytest.raises(SettingError, match="groups = 8: must divide each of the widths, also 12; take widths that are"):
        AutoencoderKLSettings(widths=(16, 12))
    with pytest.raises(SettingError, match=r"critic_widths .* halve images of 16 pixels to less than 3"):
        build(Case(dataclasses.replace(SMALL, critic_widths=(8,) * 4), "kl"))


def test_the_loss_is_the_sum_of_its_terms_in_the_published_unit() -> None:
    """Absolute errors and KL are sums over an image; the distance counts once for each value of it."""
    engine = trained(3, beta=0.5, perceptual=2.0, adversarial=0.0)
    model, batch = engine.model.eval(), engine.data.batch(0)
    with torch.no_grad():
        maps = model.posterior(batch.images)
        mean, variance = maps.mean.double(), maps.log_variance.double().exp()
        kl = 0.5 * (mean**2 + variance - 1 - variance.log()).sum(1)
        made = model.image(maps.mean)
        errors = (batch.images - made).abs().sum((1, 2, 3)).double()
        distance = model.perceptual(batch.images, made).double()
        terms = model.loss(batch, engine.turn("autoencoder", training=False))
    assert float(terms.total()) == pytest.approx(float((errors + 2 * 256 * distance + 0.5 * kl).mean()), rel=1e-5)
    assert float(terms.means["kl"]) == pytest.approx(float(kl.mean()), rel=1e-5)


def test_squared_errors_are_summed_too() -> None:
    engine = trained(1, reconstruction="squared", perceptual=0.0, adversarial=0.0)
    batch = engine.data.batch(0)
    with torch.no_grad():
        terms = engine.model.loss(batch, engine.turn("autoencoder", training=False))
        squared = (batch.images - engine.model.image(engine.model.posterior(batch.images).mean)).square()
    assert float(terms.means["reconstruction"]) == pytest.approx(float(squared.sum((1, 2, 3)).mean()), rel=1e-5)


def test_a_distance_by_features_is_twice_one_minus_the_cosine() -> None:
    here = torch.tensor([[3.0, 0.0], [1.0, 1.0]])[:, :, None, None]
    there = torch.tensor([[0.0, 2.0], [5.0, 5.0]])[:, :, None, None]
    assert torch.allclose(perceptual_distance([here], [there]), torch.tensor([2.0, 0.0]), atol=1e-6)
    assert torch.allclose(perceptual_distance([here, here], [there, here]), torch.tensor([1.0, 0.0]), atol=1e-6)


def test_codes_have_variance_one_and_decode_as_the_maps_they_stand_for() -> None:
    engine = trained(25)
    model, images = engine.model.eval(), engine.data.batch(0).images
    with torch.no_grad():
        maps, codes = model.posterior(images), model.encode(images)
        deviation = model.scale.log_deviation.exp()
        noise = torch.randn_like(maps.mean)
        assert float(codes.sample(noise).std()) == pytest.approx(1, abs=0.1)
        assert float(maps.sample(noise).std()) == pytest.approx(float(deviation), rel=0.1) and deviation > 1.1
        assert torch.allclose(codes.log_variance.exp() * deviation**2, maps.log_variance.exp(), rtol=1e-4)
        assert torch.allclose(model.scale.maps(codes.sample(noise)), maps.sample(noise), atol=1e-5)
        assert torch.allclose(model.decode(codes.mean), model.image(maps.mean).clamp(-1, 1), atol=1e-5)


def test_the_critic_learns_only_once_it_begins_and_pulls_at_the_last_layer_as_hard_as_it_is_told() -> None:
    engine = trained(0, adversarial_begins=3 * 8, adversarial=0.3)
    before = [p.detach().clone() for p in engine.model.critic.parameters()]
    for _ in range(3):
        engine.step()
    assert all(map(torch.equal, engine.model.critic.parameters(), before))
    engine.step()
    assert not any(map(torch.equal, engine.model.critic.parameters(), before))
    turn = engine.turn("autoencoder")
    turn.seed("autoencoder")
    terms = engine.model.loss(engine.data.batch(0), turn)
    last = engine.model.decoder.conv_out.weight
    pulls = {
        name: torch.autograd.grad(weight * mean, last, retain_graph=True)[0]
        for name, mean, weight in terms.weighted
        if name != "kl"
    }
    others = pulls["reconstruction"] + pulls["perceptual"]
    assert float(pulls["adversarial"].norm() / others.norm()) == pytest.approx(0.3, rel=0.01)


def test_the_features_are_those_of_an_autoencoder_of_the_data_and_stay_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "FEWEST_STEPS", 3)
    monkeypatch.setattr(learned, "images_to_see", lambda shape, count: 96)
    small: dict[str, Any] = {"widths": (4, 8), "groups": 2, "batch_size": 16, "device": "cpu", "quiet": True}
    run = ms.train("autoencoder-kl", data=draw_blobs(40, (8, 8, 1)), images=32, out=tmp_path / "run", **small)
    last = pointed(run.folder.checkpoints, "last")
    assert last is not None and run.model.prior is None
    memory = load_tensors(last / "memory.safetensors")
    wanted = learned_network("autoencoder", run.pack).trunk.state_dict()
    assert all(torch.equal(memory[f"features.{name}"], values) for name, values in wanted.items())


@pytest.mark.parametrize("attention", [True, False])
def test_networks_compute_what_those_of_diffusers_compute_with_the_same_weights(attention: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 8, 8),
        layers_per_block=2,
        latent_channels=3,
        norm_num_groups=2,
        mid_block_add_attention=attention,
    ).eval()
    for values in theirs.parameters():  # norms that begin as identities, and biases at 0, would hide a difference
        values.data += 0.1 * torch.randn_like(values)
    settings = AutoencoderKLSettings(latent_dim=3, widths=(4, 8, 8), blocks=2, groups=2, attention=attention)
    model = settings.build((16, 12, 3)).eval()
    weights = theirs.state_dict()
    for half, head in ((model.encoder, "quant_conv"), (model.decoder, "post_quant_conv")):
        name = "encoder." if half is model.encoder else "decoder."
        own = {key: key if key.startswith(head) else name + key for key in half.state_dict()}
        half.load_state_dict({key: weights.pop(there) for key, there in own.items()})
    assert not weights
    images, maps = torch.rand(2, 3, 16, 12) * 2 - 1, torch.randn(2, 3, 4, 3)
    with torch.no_grad():
        found, wanted = model.posterior(images), theirs.encode(images).latent_dist
        assert torch.allclose(found.mean, wanted.mean.flatten(1), atol=1e-5)
        assert torch.allclose(found.log_variance, wanted.logvar.flatten(1), atol=1e-5)
        assert torch.allclose(model.image(maps.flatten(1)), theirs.decode(maps).sample, atol=1e-5)
