"""Residual towers: shapes, and the initial weights that stand in for norms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from morphospace.models.residual import ResidualBlock, ResidualDecoder, ResidualEncoder, resampled


@pytest.mark.parametrize("shape", [(16, 16, 1), (28, 20, 3), (9, 13, 1)], ids=str)
@pytest.mark.parametrize("blocks", [1, 2])
def test_any_shape_is_encoded_and_decoded(shape: tuple[int, int, int], blocks: int) -> None:
    images = torch.zeros(2, shape[2], *shape[:2])
    assert ResidualEncoder(shape, (8, 16), 1, blocks)(images).shape == (2, 1)
    assert ResidualDecoder(5, (16, 8), shape, blocks)(torch.zeros(2, 5)).shape == images.shape


def test_a_new_block_is_the_identity() -> None:
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(ResidualBlock(16, 4)(x), x)


def test_inner_layers_are_scaled_by_the_fourth_root_of_the_depth() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(64, 16)
    widen, _, mix, _, narrow = block.body
    assert mix.groups == 8  # 16 channels a group
    gain = (2 / 1.04) ** 0.5 / 2
    assert float(widen.weight.std()) == pytest.approx(gain / 64**0.5, rel=0.03)
    assert float(mix.weight.std()) == pytest.approx(gain / (9 * 16) ** 0.5, rel=0.03)
    assert float(narrow.weight.abs().max()) == 0


def test_the_signal_keeps_its_size_through_a_deep_tower_without_any_norm() -> None:
    torch.manual_seed(0)
    tower = ResidualEncoder((64, 64, 3), (32, 32, 64, 64), 1, 2)
    for module in tower.modules():  # as after training has moved them: no block is the identity
        if isinstance(module, nn.Conv2d) and float(module.weight.detach().abs().max()) == 0:
            nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5)
    assert 0.05 < float(tower(torch.randn(64, 3, 64, 64)).std()) < 20
    assert not any(isinstance(m, nn.BatchNorm2d) for m in tower.modules())


@settings(deadline=None)
@given(sizes=st.tuples(*[st.integers(1, 9)] * 4))
def test_matrices_enlarge_maps_as_torch_does(sizes: tuple[int, int, int, int]) -> None:
    """On a GPU, where torch's own way gives other bytes each time."""
    height, width, taller, wider = sizes
    torch.manual_seed(0)
    maps = torch.randn(2, 3, height, width).contiguous(memory_format=torch.channels_last).requires_grad_()
    found = resampled(maps, (taller, wider))
    wanted = functional.interpolate(maps, (taller, wider), mode="bilinear", align_corners=False)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    push = torch.randn_like(wanted)
    slopes = [torch.autograd.grad(made, maps, push)[0] for made in (found, wanted)]
    assert torch.allclose(*slopes, atol=1e-5)
