"""Packed decoders: the same numbers, the model left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from morphospace.models import packed as module
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.models.packed import PackedTransposed, packed, packed_bytes
from morphospace.models.towers import ConvDecoder, NearestDoubling
from morphospace.runs.configuration import resolve

CASES = {
    "dcgan": ("dcgan", (64, 64, 3), {}),
    "excitation": ("dcgan", (32, 32, 1), {"excitation": True}),
    "fast-gan": ("fast-gan", (28, 30, 3), {}),
    "leaky, linear stem": ("vae", (32, 32, 3), {"tower": "conv", "activation": "leaky"}),
    "odd sides": ("vae", (28, 30, 1), {"tower": "conv"}),
    "stem of a convolution": ("wgan", (32, 32, 1), {"stem": "conv"}),
    "no norm": ("vae", (16, 16, 3), {"tower": "conv", "norm": "none"}),
    "given a class": ("cgan", (32, 32, 1), {}),
}


def build(model: str, shape: tuple[int, int, int], changes: dict[str, str]) -> tuple[Model, Tensor | None]:
    conditioning = Conditioning("label", ("a", "b")) if model == "cgan" else None
    torch.manual_seed(0)
    made = resolve(model, overrides=changes).model.build(shape, None, conditioning).eval()
    for layer in made.networks.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.3, 3)
            if not layer.affine:  # scaled and shifted by the condition
                continue
            layer.weight.data.uniform_(0.5, 2)
            layer.bias.data.normal_(0, 0.3)
    return made, None if conditioning is None else conditioning.spread(5)


@pytest.mark.parametrize("case", CASES)
def test_a_packed_model_decodes_the_same(case: str) -> None:
    model, conditions = build(*CASES[case])
    before = {name: value.clone() for name, value in model.networks.state_dict().items()}
    layers = [type(layer) for layer in model.networks.modules()]
    quick = packed(model)
    decoder = next(part for name, part in vars(quick).items() if name in ("decoder", "generator"))
    assert any(isinstance(layer, PackedTransposed) for layer in decoder.modules())
    for count in (1, 5):
        z = torch.randn(count, model.latent_dim)
        condition = () if conditions is None else (conditions[:count],)
        with torch.inference_mode():
            expected, got = model.decode(z, *condition), quick.decode(z, *condition)  # type: ignore[attr-defined]
        assert expected.std() > 1e-3
        assert (expected - got).abs().max() < 1e-5
    assert [type(layer) for layer in model.networks.modules()] == layers
    ours, theirs = ({t.data_ptr() for t in net.parameters()} for net in (decoder, model.networks))
    assert ours and ours <= theirs, "what is not packed is shared"
    towers = [tower for tower in model.networks.modules() if isinstance(tower, ConvDecoder)]
    doubling = [layer for tower in towers for layer in tower.body if isinstance(layer, nn.ConvTranspose2d)]
    weights = [layer.spread() if isinstance(layer, NearestDoubling) else layer.weight for layer in doubling]
    assert packed_bytes(quick) == 4 * sum(weight.numel() for weight in weights) > 0 == packed_bytes(model)
    assert all(torch.equal(before[name], value) for name, value in model.networks.state_dict().items())


def test_what_cannot_be_packed_is_returned_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    flat, _ = build("vae", (8, 8, 1), {"tower": "mlp"})
    assert packed(flat) is flat
    model, _ = build("dcgan", (16, 16, 1), {})
    halved, _ = build("dcgan", (16, 16, 1), {})
    halved.networks.to(torch.bfloat16)
    assert packed(halved) is halved
    assert packed(model) is not model
    monkeypatch.setattr(module, "_available", lambda: False)
    assert packed(model) is model
