"""Towers make every shape they promise, and say so where they cannot."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from morphospace.errors import SettingError
from morphospace.models.towers import (
    ConvDecoder,
    ConvEncoder,
    Excitation,
    Look,
    NearestDoubling,
    SelfAttention,
    auto_widths,
    initialise,
    pyramid,
)


@given(st.integers(8, 70), st.integers(8, 70), st.sampled_from([1, 3]))
@settings(max_examples=40, deadline=None)
def test_any_shape_is_encoded_and_decoded(height: int, width: int, channels: int) -> None:
    shape = (height, width, channels)
    widths = tuple(4 for _ in auto_widths(shape, 4))
    images = torch.zeros(2, channels, height, width)
    assert ConvEncoder(shape, widths, 5, Look())(images).shape == (2, 5)
    assert ConvDecoder(5, widths, shape, Look())(torch.zeros(2, 5)).shape == images.shape


def test_too_many_layers_are_refused_with_the_way_out() -> None:
    with pytest.raises(SettingError, match=r"8x8 can be halved 3 times.*--size"):
        pyramid((8, 8, 1), 4)


def test_a_convolutional_stem_is_the_same_map_as_a_linear_one() -> None:
    look = Look()
    conv = ConvDecoder(3, (4,), (8, 8, 1), look, stem="conv").eval()
    linear = ConvDecoder(3, (4,), (8, 8, 1), look, stem="linear").eval()
    linear.body.load_state_dict(conv.body.state_dict())
    with torch.no_grad():
        linear.stem.weight.copy_(conv.stem.weight.flatten(1).T)
        linear.stem.bias.copy_(conv.stem.bias.repeat_interleave(16))
    z = torch.randn(5, 3)
    assert torch.allclose(conv(z), linear(z), atol=1e-6)


def test_inner_activations_in_place_do_not_touch_what_is_given() -> None:
    images = torch.randn(2, 1, 8, 8)
    before = images.clone()
    ConvEncoder((8, 8, 1), (4,), 1, Look(norm="none"))(images)
    assert torch.equal(images, before)


def test_published_initial_weights() -> None:
    torch.manual_seed(0)
    net = initialise(ConvDecoder(100, (64, 32), (16, 16, 3), Look(), stem_norm=True), "dcgan")
    assert float(net.stem.weight.std()) == pytest.approx(0.02, rel=0.05)
    scale = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)).weight
    assert float(scale.mean()) == pytest.approx(1, abs=0.02) and 0.01 < float(scale.std()) < 0.03
    wide = initialise(ConvDecoder(100, (64, 32), (16, 16, 3), Look()), "wide")
    kernels = [m for m in wide.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert all(float(k.weight.std()) == pytest.approx(1, rel=0.1) for k in kernels)
    assert float(wide.stem.weight.std()) < 0.1


def test_self_attention_is_the_sum_of_its_formula_and_begins_as_the_identity() -> None:
    torch.manual_seed(0)
    layer, maps = SelfAttention(16).double(), torch.randn(2, 16, 4, 6, dtype=torch.float64)
    assert torch.equal(layer(maps), maps)
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        made, query = layer(maps), layer.query(maps)
        key, value = (torch.nn.functional.max_pool2d(part(maps), 2) for part in (layer.key, layer.value))
        for image, row, column in ((0, 0, 0), (1, 3, 5), (1, 2, 1)):
            here = query[image, :, row, column]
            scores = torch.stack([here @ key[image, :, i, j] for i in range(2) for j in range(3)])
            shares = scores.exp() / scores.exp().sum()
            seen = sum(shares[3 * i + j] * value[image, :, i, j] for i in range(2) for j in range(3))
            wanted = maps[image, :, row, column] + 0.7 * layer.out.weight[:, :, 0, 0] @ seen
            assert torch.allclose(made[image, :, row, column], wanted, atol=1e-12)


@pytest.mark.parametrize("odd", [(0, 0), (1, 0), (0, 1)])
def test_nearest_doubling_is_a_convolution_of_repeated_places(odd: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = NearestDoubling(3, 5, odd).double()
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    repeated = functional.pad(maps.repeat_interleave(2, 2).repeat_interleave(2, 3), (0, odd[1], 0, odd[0]))
    wanted = functional.conv2d(repeated, layer.weight.transpose(0, 1).flip(2, 3), layer.bias, padding=1)
    assert torch.allclose(layer(maps), wanted, atol=1e-12) and layer(maps).shape == (2, 5, 8 + odd[0], 12 + odd[1])
    assert torch.allclose(layer.plain()(maps), wanted, atol=1e-12)
    even = NearestDoubling(1, 1, bias=False)  # a map of one value stays so, except at its edges
    inner = even(torch.ones(1, 1, 8, 8))[0, 0, 1:-1, 1:-1]
    assert torch.allclose(inner, inner[0, 0].expand_as(inner), atol=1e-6)


def test_excitation_scales_each_channel_by_a_factor_of_the_small_map() -> None:
    torch.manual_seed(0)
    gate, small, large = Excitation(3, 5), torch.randn(2, 3, 8, 8), torch.randn(2, 5, 16, 12)
    factors = gate(small, large) / large
    assert torch.allclose(factors, factors[:, :, :1, :1].expand_as(factors), atol=1e-5)
    assert float(factors.min()) > 0 and float(factors.max()) < 1 and float(factors[0, :, 0, 0].std()) > 0


def test_a_decoders_late_maps_are_scaled_by_those_half_a_tower_earlier() -> None:
    torch.manual_seed(0)
    plain = ConvDecoder(3, (8, 6, 4, 4), (64, 64, 1), Look())
    gated = ConvDecoder(3, (8, 6, 4, 4), (64, 64, 1), Look(), excitation=True)
    assert list(gated.gates) == ["2", "3"] and not plain.gates
    assert [(g.squeeze.in_channels, g.squeeze.out_channels) for g in gated.gates.values()] == [(8, 4), (6, 4)]
    gated.load_state_dict(plain.state_dict(), strict=False)
    z = torch.randn(2, 3)
    ungated = plain(z)
    assert not torch.equal(gated(z), ungated)
    for gate in gated.gates.values():  # a factor of 1 changes nothing
        gate.forward = lambda small, large: large
    assert torch.equal(gated(z), ungated)
    gated.gates["2"].forward = lambda small, large: large * 0
    assert not torch.equal(gated(z), ungated)
