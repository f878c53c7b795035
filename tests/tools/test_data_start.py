"""What a new model begins with: the decoder's bias from the data, and shares of the terms at the first step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from morphospace.models.contract import Model
from morphospace.models.layers import Judge
from morphospace.models.likelihoods import Likelihood, likelihood_for
from morphospace.zoo.settings import AESettings, CGANSettings, MaskVAESettings, SNGANSettings, VAESettings
from tests.conftest import draw_blobs

KINDS = [
    "bernoulli",
    "continuous-bernoulli",
    "gaussian",
    "squared-error",
    "discretised-logistic",
    "discretised-logistic-mixture",
    "categorical",
]


def likelihood_of(kind: str, signed: bool) -> Likelihood:
    return likelihood_for(kind, signed=signed, variance="fixed", sigma=0.2).eval()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_start_fits_better_than_any_neighbour(kind: str, signed: bool) -> None:
    if signed and "bernoulli" in kind:
        return
    levels = torch.from_numpy(draw_blobs(30, (6, 5, 2))).permute(0, 3, 1, 2) / 255
    likelihood, images = likelihood_of(kind, signed), 2 * levels - 1 if signed else levels
    raw = likelihood.start(images)
    assert raw.shape == (2 * likelihood.outputs_per_value, 6, 5)
    assert float((likelihood.mean(raw[None]) - images.mean(0)).abs().max()) < 0.09

    def fit(raw: torch.Tensor) -> float:
        return float(likelihood.log_prob(raw.expand(30, *raw.shape), images).mean())

    best = fit(raw)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        step = torch.randn(raw.shape, generator=generator)
        assert fit(raw + step) < best
    assert best > fit(torch.zeros_like(raw))


@pytest.mark.parametrize("tower", ["mlp", "conv"])
def test_a_new_decoder_begins_at_the_mean_image(tower: str) -> None:
    torch.manual_seed(0)
    images = torch.from_numpy(draw_blobs(40, (16, 16, 3))).permute(0, 3, 1, 2) / 255
    settings = VAESettings(tower=tower, widths=(16,), latent_dim=4)
    model, plain = settings.build((16, 16, 3)), settings.build((16, 16, 3))
    model.start_from(images)
    z = torch.randn(200, 4)

    def off(model: Model) -> float:
        made, mean = model.decode(z).mean(0), images.mean(0)  # type: ignore[attr-defined]
        if tower == "conv":  # one bias a channel
            made, mean = made.mean((1, 2)), mean.mean((1, 2))
        return float((made - mean).abs().mean())

    assert off(model) < 0.1 * off(plain)
    untouched = AESettings(tower=tower, widths=(16,), latent_dim=4, output_bias="init").build((16, 16, 3))
    before = {name: value.clone() for name, value in untouched.networks.state_dict().items()}
    untouched.start_from(images)
    assert all(torch.equal(value, before[name]) for name, value in untouched.networks.state_dict().items())


def test_masks_begin_at_the_mean_mask() -> None:
    torch.manual_seed(0)
    images = torch.from_numpy(draw_blobs(40, (16, 16, 1))).permute(0, 3, 1, 2) / 255
    model = MaskVAESettings(tower="mlp", widths=(16,), latent_dim=4).build((16, 16, 1))
    masks = (images > 0.6).float()
    model.start_from(images, masks)
    made = model.decode_mask(torch.randn(200, 4)).mean(0)  # type: ignore[attr-defined]
    assert float((made - masks.mean(0)).abs().mean()) < 0.05


@torch.no_grad()
@pytest.mark.parametrize("conditioning", ["projection", "embedding"])
def test_no_condition_decides_what_a_new_critic_says(conditioning: str) -> None:
    """The share of each term at the start: the class adds no more than the image does."""
    from morphospace.models.conditioning import Conditioning

    torch.manual_seed(0)
    names = Conditioning.of("label", tuple("abcdefghij"), ())
    for settings in (
        CGANSettings(widths=(32, 64, 128), conditioning=conditioning),  # type: ignore[arg-type]
        CGANSettings(widths=(32, 64, 128), conditioning=conditioning, init="default"),  # type: ignore[arg-type]
    ):
        critic = settings.build((28, 28, 1), conditioning=names).networks["critic"]
        assert isinstance(critic, Judge)
        images = torch.from_numpy(draw_blobs(100, (28, 28, 1))).permute(0, 3, 1, 2) / 127.5 - 1
        # (image, class): every image judged as if of every class.
        said = torch.stack([critic(images, row.expand(100, -1)).squeeze(1) for row in torch.eye(10)], 1)
        by_class = (said - said.mean(1, keepdim=True)).std()
        assert float(said.std()) < 3  # not saturated
        assert float(by_class) < 3 * float(said.mean(1).std()) + 0.5


@torch.no_grad()
def test_minibatch_discrimination_begins_by_the_tower_s_scheme() -> None:
    torch.manual_seed(0)
    settings = SNGANSettings(widths=(32, 64), init="dcgan", spectral_norm=False, minibatch_discrimination=100)
    critic = settings.build((16, 16, 1)).networks["critic"]
    assert isinstance(critic, Judge) and critic.discriminate is not None
    for layer in (critic.head, critic.discriminate.project):
        assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.1)
        assert layer.bias is None or float(layer.bias.abs().max()) == 0


def test_glorot_keeps_the_variance_that_its_formula_says() -> None:
    torch.manual_seed(0)
    model = VAESettings(tower="mlp", widths=(200, 100), init="glorot").build((28, 28, 1))
    layer = model.networks["encoder"].body[0]  # type: ignore[index]
    assert isinstance(layer, nn.Linear)
    assert float(layer.weight.std()) == pytest.approx(math.sqrt(2 / (784 + 200)), rel=0.02)
    assert float(layer.bias.abs().max()) == 0
