"""Anatomies: what is found of a model is what it has, and looking changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from morphospace.models.contract import Model
from morphospace.training.anatomy import Anatomy, anatomy
from morphospace.zoo.settings import ZOO, DCGANSettings, VAESettings
from tests.contracts.cases import CASES, Case, build


def flows(found: Anatomy, phase: str) -> list[str]:
    """The chains of a phase as text."""
    (one,) = [one for one in found.phases if one.name == phase]
    return [" ".join(f"{step.given} > {step.part}" for step in chain) for chain in one.chains]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_parameter_is_in_one_layer_and_nothing_moves(case: Case) -> None:
    model = build(case, (16, 12, 1))
    before = {name: value.clone() for name, value in [*model.networks.state_dict().items()]}
    modes, stream = [one.training for one in model.networks.modules()], torch.get_rng_state()
    found = anatomy(model)
    for part in found.parts:
        own = sum(p.numel() for p in model.networks[part.name].parameters())
        assert sum(layer.parameters for layer in part.layers) == part.parameters == own
    assert sum(part.parameters for part in found.parts) == model.parameters()
    after = model.networks.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [one.training for one in model.networks.modules()] == modes and torch.equal(torch.get_rng_state(), stream)
    assert all(p.grad is None for p in model.networks.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.networks.modules())
    named = {part.name for part in found.parts}
    for phase in found.phases:
        assert phase.chains and phase.terms and set(phase.learns) <= named and set(phase.acts) <= named
        assert all(step.given != "parameters" for chain in phase.chains for step in chain)


def test_every_member_is_among_the_cases() -> None:
    assert {case.member for case in CASES} >= set(ZOO)


def of(label: str) -> Anatomy:
    return anatomy(build(next(case for case in CASES if case.label == label)))


def test_the_flow_of_a_step_is_told() -> None:
    vae, gan, both = of("vae-mlp"), of("wgan-gp"), of("vae-gan")
    assert flows(vae, "vae") == ["x > encoder z ~ q(z | x) > decoder"]
    assert vae.phases[0].terms == (("reconstruction", 1.0), ("kl", 4.0))
    fake = "z ~ p(z) > generator x̂ > critic"
    assert flows(gan, "critic") == ["x > critic", fake, fake.replace("x̂", "x and x̂")]
    assert gan.phases[0].turns == 2 and gan.phases[0].learns == ("critic",)
    assert flows(gan, "generator") == [fake] and gan.phases[1].learns == ("generator",)
    whole = "x > encoder z ~ q(z | x) or z ~ p(z) > decoder x̂ > critic"
    assert flows(both, "critic") == ["x > critic", whole] and flows(both, "vae") == [whole]
    assert flows(of("cgan"), "generator") == ["z ~ p(z), y > generator x̂, y > critic"]
    assert [layer.given for layer in of("cgan").parts[1].layers] == ["", "", "", "y"]
    assert flows(of("cvae-conv"), "cvae") == ["x, y > encoder z ~ q(z | x), y > decoder"]
    assert flows(of("mask-vae"), "mask-vae")[1] == "x > encoder z ~ q(z | x) > mask_decoder"
    assert flows(of("info-gan"), "generator") == ["z ~ p(z) > generator x̂ > critic features > recogniser"]
    assert flows(of("acgan"), "critic")[0] == "x > critic features > classifier"
    assert flows(of("ae"), "ae") == ["x > encoder z > decoder"]
    assert flows(of("bigan"), "critic") == [
        "z ~ p(z) > generator x̂, z ~ p(z) > critic",
        "z ~ p(z) > generator x or x̂ > encoder x, z > critic",
    ]
    assert "noise > prior z ~ q(z | x) or z ~ p(z) > decoder x̂ > critic" in flows(of("vae-gan-mixture"), "vae")


def test_a_warm_up_shows_its_final_weight_and_a_lazy_penalty_its_turn() -> None:
    warm = VAESettings(latent_dim=4, widths=(8,), beta=3.0, kl_warmup_images=1000).build((16, 16, 1))
    assert dict(anatomy(warm).phases[0].terms)["kl"] == 3.0
    lazy = of("r3gan-mlp").phases
    assert [(phase.name, phase.every) for phase in lazy] == [("critic", 1), ("penalty", 4), ("generator", 1)]
    three = of("vae-gan-features").phases
    assert three[0].together == ("decoder", "critic")


def test_receptive_fields_are_those_that_gradients_find() -> None:
    model = DCGANSettings(widths=(4, 4, 4), critic_norm="none").build((64, 64, 1))
    found = next(part for part in anatomy(model).parts if part.name == "critic")
    critic = model.networks["critic"]
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    maps, fields = image, []
    for layer in critic.body:  # type: ignore[union-attr]
        maps = layer(maps)
        if isinstance(layer, nn.Conv2d):
            middle = maps.shape[2] // 2
            (gradient,) = torch.autograd.grad(maps[0, :, middle, middle].sum(), image, retain_graph=True)
            fields.append(int((gradient[0, 0].abs().sum(1) > 0).sum()))
    assert [layer.sees for layer in found.layers] == [*fields, None] == [4, 10, 22, None]


class Branches(nn.Module):
    """Two branches of different reach, a weight of its own, a shared layer, and functions in place of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.near, self.far = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 7, padding=3)
        self.both = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4 * 16, 8)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.scale * (self.near(images) + self.far(images))
        maps = torch.relu(self.both(self.both(maps)))
        return self.last(nn.functional.max_pool2d(maps, 4).flatten(1))


def test_networks_of_the_users_own() -> None:
    decoder = nn.Sequential(nn.Linear(4, 256), nn.Unflatten(1, (1, 16, 16)))
    model: Model = VAESettings(latent_dim=4).build((16, 16, 1), {"encoder": Branches(), "decoder": decoder})
    found = anatomy(model)
    encoder = found.parts[0]
    assert encoder.parameters == sum(layer.parameters for layer in encoder.layers)
    seen = {(layer.name, layer.sees) for layer in encoder.layers}
    assert seen == {("scale", None), ("conv 3×3", 3), ("conv 7×7", 7), ("conv 3×3", 9), ("linear", None)}
    assert flows(found, "vae") == ["x > encoder z ~ q(z | x) > decoder"]


def test_repeated_blocks_are_one_layer_each() -> None:
    deep = next(part for part in of("r3gan").parts if part.name == "critic")
    blocks = [layer for layer in deep.layers if layer.name == "residual block"]
    assert blocks and all("3×3" in block.detail and block.parameters for block in blocks)
