"""Towers make every shape they promise, and say so where they cannot."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import SettingError
from morphospace.models.towers import ConvDecoder, ConvEncoder, Look, auto_widths, initialise, pyramid


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
