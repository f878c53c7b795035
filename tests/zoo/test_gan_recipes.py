"""GAN recipes are what their sources say: parameters counted, settings by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.runs.configuration import resolve

# Image shape, and numbers by network: those of recipes.md where it has them, else counted by hand from the layers.
COUNTS = {
    "celeba-dcgan": ((64, 64, 3), {"generator": 5_906_563, "critic": 2_661_888}),
    "mnist-dcgan": ((64, 64, 1), {"generator": 3_574_656, "critic": 2_763_520}),
    # conv 1->64: 16*64 + 64, conv 64->128: 16*64*128 + 128, linear 8192->1: 8192 + 1
    "sn-discriminator": ((32, 32, 1), {"critic": 1_088 + 131_200 + 8_193}),
    # linear 100->8192 and its norm; up 512->256->128->64->32 with norms; up 32->3, no biases
    "dcgan-128": (
        (128, 128, 3),
        {"generator": 819_200 + 1_024 + 16 * (131_072 + 32_768 + 8_192 + 2_048 + 96) + 2 * (256 + 128 + 64 + 32)},
    ),
}
EVERY = [
    *COUNTS,
    "celeba-dcgan-well",
    "celeba-dcgan-long",
    "wgan-gp",
    "wgan",
    "wgan-unconstrained",
    "cgan",
    "fashion-r3gan",
]


def build(name: str, shape: tuple[int, int, int]) -> Model:
    settings = resolve(recipe=name).model
    conditioning = Conditioning("label", tuple("0123456789")) if getattr(settings, "condition", "") else None
    return settings.build(shape, None, conditioning)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_of_the_source(name: str) -> None:
    shape, counts = COUNTS[name]
    model = build(name, shape)
    for part, count in counts.items():
        assert sum(p.numel() for p in model.networks[part].parameters()) == count


@pytest.mark.parametrize("name", EVERY)
def test_every_recipe_draws_an_image_of_its_data(name: str) -> None:
    size = int(resolve(recipe=name).data.size)
    channels = 3 if resolve(recipe=name).data.data == "celeba" else 1
    model = build(name, (size, size, channels)).eval()
    conditions = None if model.conditioning is None else model.conditioning.spread(2)
    with torch.no_grad():
        assert model.decode(torch.randn(2, model.latent_dim), conditions).shape == (2, channels, size, size)


def test_published_oddities_are_kept_by_name() -> None:
    celeba = resolve(recipe="celeba-dcgan")
    assert celeba.model.share_fakes and celeba.training.clip == 1.0 and celeba.training.batch_size == 32
    for twin in ("", "-laptop"):  # whatever the defaults are by now
        for name, clip in (("wgan", 0.01), ("wgan-unconstrained", 0)):
            wgan = resolve(recipe=f"{name}{twin}").model
            assert (wgan.optimizer, wgan.lr, wgan.critic_lr) == ("rmsprop", 5e-5, None)
            assert (wgan.turns, wgan.weight_clip, wgan.critic_norm) == (5, clip, "batch")
        penalty = resolve(recipe=f"wgan-gp{twin}").model
        assert (penalty.gradient_penalty, penalty.penalty_every, penalty.turns) == (10.0, 1, 5)
        assert (penalty.lr, penalty.critic_lr, penalty.betas) == (1e-4, 1e-4, (0.0, 0.9))
        assert (penalty.critic_norm, penalty.init) == ("none", "dcgan")
    cgan = resolve(recipe="cgan").model
    assert cgan.embedding == 100 and cgan.latent_dim == 100


def test_the_lessons_discriminator_is_limited_in_every_layer() -> None:
    torch.manual_seed(0)
    critic = build("sn-discriminator", (32, 32, 1)).critic
    layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [tuple(m.weight.shape) for m in layers] == [(64, 1, 4, 4), (128, 64, 4, 4), (1, 8192)]
    for layer in layers:
        norm = float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0])
        assert norm == pytest.approx(1, abs=0.05)
