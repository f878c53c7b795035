"""What each VAE's own loss promises beyond the contract of all members."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

import morphospace as ms
from morphospace.data.batches import Batch
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import SettingError
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import seeded_noise
from morphospace.models.priors import normal_log_prob
from morphospace.objectives.clock import Clock
from morphospace.zoo.settings import (
    BetaTCVAESettings,
    CVAESettings,
    FactorVAESettings,
    IWAESettings,
    MaskVAESettings,
    VAESettings,
)
from tests.conftest import draw_blobs
from tests.contracts.cases import drawn_split

SHAPE = (8, 8, 1)
MLP = {"latent_dim": 3, "tower": "mlp", "widths": (16,)}


class FakeTurn:
    """Draws from a generator of its own, as the engine's turn does from its stream."""

    def __init__(self, training: bool = True, images: int = 0, dataset: int = 100) -> None:
        self.clock, self.training = Clock(0, images, 0.0, dataset), training
        self.generator = torch.Generator().manual_seed(5)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator)

    def once(self, key, make, by):
        return make()


def batch_of(count: int = 6) -> Batch:
    split = drawn_split(count, SHAPE)
    images = torch.from_numpy(split.images).permute(0, 3, 1, 2) / 255
    masks = torch.from_numpy(split.masks).permute(0, 3, 1, 2).float()
    labels, attributes = torch.from_numpy(split.labels), torch.from_numpy(split.attributes).float()
    return Batch(images, torch.arange(count), labels, attributes, None, masks)


def model_of(settings, conditioning: Conditioning | None = None):
    torch.manual_seed(0)
    return settings.build(SHAPE, None, conditioning)


# -- vae --------------------------------------------------------------------------------------------------------------


def test_the_sampled_bound_has_the_closed_ones_value_and_gradient_as_its_mean() -> None:
    batch, values, gradients = batch_of(), [], []
    for kl in ("closed", "sampled"):
        model = model_of(VAESettings(**MLP, draws=4000, kl=kl))
        terms = model.loss(batch, FakeTurn())
        terms.total().backward()
        values.append({name: float(value) for name, value in terms.means.items()})
        gradients.append(model.encoder.head.weight.grad)
    assert values[0]["reconstruction"] == values[1]["reconstruction"]  # the same draws
    assert values[0]["kl"] == pytest.approx(values[1]["kl"], abs=0.05)
    assert torch.allclose(gradients[0], gradients[1], atol=0.1 * float(gradients[0].abs().max()))


def test_draws_of_an_image_are_of_that_image() -> None:
    """With a posterior that hardly varies, many draws say what one says."""
    model, batch = model_of(VAESettings(**MLP)), batch_of()
    with torch.no_grad():
        model.encoder.head.weight.mul_(3)
        model.encoder.head.weight[3:] = 0
        model.encoder.head.bias[3:] = -25
    one = model.loss(batch, FakeTurn()).means["reconstruction"]
    object.__setattr__(model.settings, "draws", 7)
    assert float(model.loss(batch, FakeTurn()).means["reconstruction"]) == pytest.approx(float(one), rel=1e-4)


def test_capacity_rises_with_the_images_and_validation_judges_by_its_end() -> None:
    settings = VAESettings(**MLP, capacity=8.0, capacity_images=100, capacity_weight=10.0)
    model, batch = model_of(settings), batch_of()

    def gap(images: int, training: bool = True) -> tuple[float, float]:
        terms = model.loss(batch, FakeTurn(training, images))
        assert float(terms.total().detach()) == pytest.approx(
            float(terms.means["reconstruction"] + 10 * terms.means["capacity_gap"]), rel=1e-5
        )
        return float(terms.means["kl"]), float(terms.means["capacity_gap"])

    for images, capacity in ((0, 0.0), (50, 4.0), (100, 8.0), (900, 8.0)):
        kl, distance = gap(images)
        assert distance == pytest.approx(abs(kl - capacity), abs=1e-5)
    kl, distance = gap(0, training=False)
    assert distance == pytest.approx(abs(kl - 8.0), abs=1e-5)


def test_free_bits_leave_a_collapsed_posterior_alone() -> None:
    model, batch = model_of(VAESettings(**MLP, free_bits=2.0)), batch_of()
    terms = model.loss(batch, FakeTurn())
    assert float(terms.means["kl"]) < 6 == pytest.approx(float(terms.means["kl_above_free"]))
    terms.weighted[1][1].backward()
    assert float(model.encoder.head.weight.grad.abs().max()) == 0


def test_validation_takes_means_and_draws_nothing() -> None:
    model, batch = model_of(VAESettings(**MLP, draws=5, kl="sampled")).eval(), batch_of()
    turn = SimpleNamespace(clock=Clock(0, 0, 0.0), training=False)  # has nothing to draw with
    terms = model.loss(batch, turn)
    posterior = model.encode(batch.images)
    assert float(terms.means["kl"]) == pytest.approx(float(posterior.kl().mean().detach()))
    expected = functional.binary_cross_entropy(model.decode(posterior.mean), batch.images, reduction="sum") / 6
    assert float(terms.means["reconstruction"]) == pytest.approx(float(expected.detach()), rel=1e-4)


@pytest.mark.parametrize(
    ("likelihood", "bits"),
    [("categorical", 8.1), ("discretised-logistic", 9.0), ("continuous-bernoulli", 8.0), ("gaussian", 8.2)],
)
def test_bits_per_dim_of_an_untrained_model_are_about_eight(likelihood: str, bits: float) -> None:
    """At the start each says little of 256 levels; a wrong bin width would be off by a bit or eight.

    A logistic of scale 1 has density 0.23 over a range of 2 where the uniform one has 1/2: a bit more.
    """
    dequantise = likelihood in ("continuous-bernoulli", "gaussian")
    more = {"variance": "fixed", "sigma": 0.3} if likelihood == "gaussian" else {}
    model = model_of(VAESettings(**MLP, likelihood=likelihood, dequantise=dequantise, **more))
    drawn = torch.randint(0, 256, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    noise = Batch(drawn / 255, torch.arange(64))
    assert float(model.loss(noise, FakeTurn()).means["bits_per_dim"]) == pytest.approx(bits, abs=0.3)
    assert "bits_per_dim" not in model_of(VAESettings(**MLP)).loss(noise, FakeTurn()).means


# -- iwae -------------------------------------------------------------------------------------------------------------


def test_iwae_of_one_sample_is_the_vae_with_sampled_kl_and_more_samples_are_tighter() -> None:
    batch = batch_of()
    bounds = []
    for samples in (1, 4, 64):
        model = model_of(IWAESettings(**MLP, samples=samples))
        terms = [model.loss(batch, turn) for turn in [FakeTurn()] for _ in range(200)]
        bounds.append(float(torch.stack([t.means["bound"] for t in terms]).mean()))
    vae = model_of(VAESettings(**MLP, kl="sampled")).loss(batch, FakeTurn())
    one = model_of(IWAESettings(**MLP, samples=1)).loss(batch, FakeTurn())
    assert float(one.total().detach()) == pytest.approx(float(vae.total().detach()), rel=1e-5)
    assert bounds[0] > bounds[1] > bounds[2]


def test_iwae_weighs_by_the_definition() -> None:
    """The loss from scipy's log-sum-exp over densities computed one image and one sample at a time."""
    from scipy.special import logsumexp

    model, batch = model_of(IWAESettings(**MLP, samples=5)), batch_of(3)
    loss = float(model.loss(batch, FakeTurn()).total().detach())
    posterior, noise = model.encode(batch.images), FakeTurn().normal(15, 3).view(3, 5, 3)
    bounds = []
    for i in range(3):
        mean, deviation = posterior.mean[i], (posterior.log_variance[i] / 2).exp()
        q = torch.distributions.Normal(mean, deviation)
        z = mean + deviation * noise[i]
        pixels = torch.distributions.Bernoulli(logits=model.decoder(z), validate_args=False)
        log_weights = pixels.log_prob(batch.images[i]).flatten(1).sum(1) + normal_log_prob(z) - q.log_prob(z).sum(1)
        bounds.append(logsumexp(log_weights.detach().numpy()) - math.log(5))
    assert loss == pytest.approx(-np.mean(bounds), rel=1e-5)


def test_the_doubly_reparameterised_iwae_moves_the_decoder_as_the_plain_one() -> None:
    gradients = {}
    for gradient in ("iwae", "dreg"):
        model = model_of(IWAESettings(**MLP, samples=5, gradient=gradient))
        model.loss(batch_of(), FakeTurn()).total().backward()
        gradients[gradient] = (model.decoder.head.weight.grad, model.encoder.head.weight.grad)
    assert torch.allclose(gradients["iwae"][0], gradients["dreg"][0])
    assert not torch.allclose(gradients["iwae"][1], gradients["dreg"][1], rtol=0.01)


def test_the_doubly_reparameterised_iwae_has_the_plain_ones_gradient_as_its_mean() -> None:
    """Over 40 batches of 100 copies of two images, of a posterior far from the true one."""
    batch = batch_of(2)
    copies = Batch(batch.images.repeat_interleave(100, 0), torch.arange(200))
    means, errors = [], []
    for gradient in ("iwae", "dreg"):
        model, turn, seen = model_of(IWAESettings(**MLP, samples=5, gradient=gradient)), FakeTurn(), []
        with torch.no_grad():
            model.encoder.head.bias.copy_(torch.tensor([1.5, -1.5, 1.0, 0.5, -1.0, 0.5]))
            model.decoder.body[0].weight.mul_(3)
        for _ in range(40):
            model.networks.zero_grad()
            model.loss(copies, turn).total().backward()
            seen.append(model.encoder.head.bias.grad.clone())
        means.append(torch.stack(seen).mean(0))
        errors.append(torch.stack(seen).std(0) / math.sqrt(40))
    error = (errors[0] ** 2 + errors[1] ** 2).sqrt()
    assert ((means[0] - means[1]).abs() < 4 * error).all()
    assert float((errors[1] / errors[0]).mean()) < 0.9
    assert float(error.mean()) < 0.03 * float(means[0].abs().mean())


# -- cvae -------------------------------------------------------------------------------------------------------------


def test_a_conditional_vae_wants_its_condition() -> None:
    conditioning = Conditioning("label", ("a", "b", "c"))
    for tower in ("mlp", "conv"):
        model = model_of(CVAESettings(latent_dim=3, widths=(8,), tower=tower), conditioning)
        with pytest.raises(SettingError, match="needs 3 numbers for each image"):
            model.decode(torch.zeros(2, 3))
        with pytest.raises(SettingError, match="needs 3 numbers for each image"):
            model.encode(torch.zeros(2, 1, 8, 8))
        with pytest.raises(SettingError, match=r"has shape \(1, 3\), must have \(2, 3\)"):
            model.decode(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(SettingError, match="condition = 'label'"):
        model_of(CVAESettings(latent_dim=3, widths=(8,)))
    with pytest.raises(SettingError, match="condition = ''"):
        CVAESettings(condition="")


def test_a_class_can_be_asked_for(tmp_path: Path) -> None:
    """Dark, grey and bright images: each class comes out in its own grey."""
    labels = np.arange(192) % 3
    images = np.full((192, 8, 8, 1), 40, np.uint8) + (80 * labels).astype(np.uint8)[:, None, None, None]
    pack = in_memory_pack("greys", train=Split(images=images, labels=labels), label_names=("dark", "grey", "bright"))
    settings = {
        "images": 192 * 25,
        "batch_size": 32,
        "device": "cpu",
        "lr": 5e-3,
        "valid": 0.0,
        "checkpoint_images": 10**6,
        **MLP,
    }
    run = ms.train("cvae", data=pack, out=tmp_path / "r", **settings)
    greys = [float(ms.sample(run, 8, label=name).mean()) for name in ("dark", "grey", "bright")]
    assert greys == pytest.approx([40, 120, 200], abs=15)


# -- factor-vae and beta-tcvae ----------------------------------------------------------------------------------------


def test_total_correlation_is_weighed_beside_the_bound() -> None:
    batch = batch_of()
    model = model_of(FactorVAESettings(**MLP, gamma=7.0, critic_widths=(8,)))
    terms = model.loss(batch, FakeTurn())
    plain = model_of(VAESettings(**MLP))
    plain.networks.load_state_dict({k: v for k, v in model.networks.state_dict().items() if "critic" not in k})
    expected = plain.loss(batch, FakeTurn()).total() + 7 * terms.means["total_correlation"]
    assert float(terms.total().detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    posterior = model.encode(batch.images)
    z = posterior.sample(FakeTurn().normal(6, 3))
    assert float(terms.means["total_correlation"]) == pytest.approx(float(model.critic(z).mean().detach()), rel=1e-5)


def test_beta_tcvae_with_equal_weights_is_a_beta_vae_with_sampled_kl() -> None:
    for sampling in ("weighted", "stratified"):
        settings = BetaTCVAESettings(**MLP, alpha=3.0, beta=3.0, gamma=3.0, sampling=sampling)
        mine = model_of(settings).loss(batch_of(), FakeTurn())
        theirs = model_of(VAESettings(**MLP, beta=3.0, kl="sampled")).loss(batch_of(), FakeTurn())
        assert float(mine.total().detach()) == pytest.approx(float(theirs.total().detach()), rel=1e-5)


# -- mask-vae ---------------------------------------------------------------------------------------------------------


def test_pixels_outside_the_mask_count_nothing() -> None:
    model, batch = model_of(MaskVAESettings(**MLP)), batch_of()
    mask = batch.masks
    assert 0.05 < float(mask.mean()) < 0.6
    raw = torch.randn(6, 1, 8, 8, requires_grad=True)
    posterior = model.encode(batch.images)
    terms = model.negative_bound(batch, posterior, posterior.mean, raw, FakeTurn())
    terms.total().backward()
    assert (raw.grad[mask == 0] == 0).all() and (raw.grad[mask == 1] != 0).all()
    expected = functional.binary_cross_entropy_with_logits(raw, batch.images, reduction="none")[mask == 1].sum() / 6
    assert float(terms.means["reconstruction"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    logits = model.mask_decoder(posterior.mean)
    expected = functional.binary_cross_entropy_with_logits(logits, mask, reduction="sum") / 6
    assert float(terms.means["mask"]) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_mean_over_pixels_leaves_image_and_mask_beside_each_other_as_they_were() -> None:
    batch, summed = batch_of(), model_of(MaskVAESettings(**MLP))
    meant = model_of(MaskVAESettings(**MLP, reduction="mean"))
    meant.networks.load_state_dict(summed.networks.state_dict())
    posterior = summed.encode(batch.images)
    raw = summed.decoder(posterior.mean)
    weights = []
    for model in (summed, meant):
        terms = model.negative_bound(batch, posterior, posterior.mean, raw, FakeTurn())
        weights.append([weight for *_, weight in terms.weighted][:2])
    assert weights[1] == pytest.approx([weights[0][0] / 64, weights[0][1] / 64])


def test_several_masks_count_as_their_union() -> None:
    model, batch = model_of(MaskVAESettings(**MLP)), batch_of()
    left, right = batch.masks.clone(), batch.masks.clone()
    left[..., 4:], right[..., :4] = 0, 0
    parts = Batch(batch.images, batch.rows, masks=torch.cat([left, right], 1))
    one, two = (model.loss(b, FakeTurn()).total() for b in (batch, parts))
    assert float(one.detach()) == float(two.detach())


@pytest.mark.parametrize("signed", [False, True])
def test_what_is_outside_the_decoded_mask_is_background(signed: bool) -> None:
    model = model_of(MaskVAESettings(**MLP, likelihood="gaussian", signed=signed, outside=0.25))
    z = seeded_noise(4, 3, 0)
    with torch.no_grad():
        model.mask_decoder.head.weight.zero_()
        model.mask_decoder.head.bias.fill_(-50.0)
        assert model.decode(z).flatten().tolist() == pytest.approx([-0.5 if signed else 0.25] * 256)
        model.mask_decoder.head.bias.fill_(50.0)
        assert torch.allclose(model.decode(z), model.decode_image(z), atol=1e-6)


def test_masks_are_learned_from_drawn_shapes_and_missed_where_there_are_none(tmp_path: Path) -> None:
    """Discs on noise: the mask is found, and the noise around it neither learned nor painted."""
    discs = draw_blobs(256, (12, 12, 1))
    mask = (discs > 100).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, discs.shape, np.uint8)
    split = Split(images=np.where(mask, 220, noise).astype(np.uint8), masks=mask)
    pack = in_memory_pack("discs", train=split, mask_names=("disc",))
    settings = {
        "images": 256 * 40,
        "batch_size": 32,
        "device": "cpu",
        "lr": 3e-3,
        "valid": 0.0,
        "checkpoint_images": 10**6,
    }
    run = ms.train("mask-vae", data=pack, out=tmp_path / "r", tower="mlp", widths=(128,), latent_dim=4, **settings)
    with torch.no_grad():
        z = run.model.encode(run.model.from_uint8(torch.from_numpy(pack.split("train").images))).mean
        found = run.model.decode_mask(z).numpy()[:, 0] > 0.5
    union = (found | (mask[..., 0] > 0)).sum()
    assert (found & (mask[..., 0] > 0)).sum() / union > 0.7
    with pytest.raises(SettingError, match="data = 'plain': has no masks, which mask-vae learns from"):
        ms.train("mask-vae", data=in_memory_pack("plain", train=discs), out=tmp_path / "m", **settings)
    assert not (tmp_path / "m").exists()


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (VAESettings, {"capacity": 5.0, "beta": 4.0}, "takes the place of the weighted KL"),
        (VAESettings, {"free_bits": 0.1, "kl": "sampled"}, "needs the KL of each unit"),
        (VAESettings, {"draws": 0}, "draws = 0"),
        (VAESettings, {"sigma": 0.2}, "sigma = 0.2: only a Gaussian has one"),
        (VAESettings, {"capacity_images": 1000}, "capacity_images = 1000.*add --capacity"),
        (IWAESettings, {"samples": 0}, "samples = 0"),
        (IWAESettings, {"reduction": "mean"}, "importance weights need"),
        (BetaTCVAESettings, {"beta": -1.0}, "beta = -1"),
        (FactorVAESettings, {"critic_widths": (0,)}, "every one must be at least 1"),
        (MaskVAESettings, {"outside": 2.0}, "outside = 2"),
    ],
)
def test_absurd_settings_are_refused_by_name(settings: type, values: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        settings(**values)
