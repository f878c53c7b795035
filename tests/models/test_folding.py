"""Folded transposed convolutions are the library's own, wherever they step in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from morphospace.models.folding import Folded


@given(
    st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3),
    st.integers(0, 1), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_it_is_the_librarys_own(
    batch: int, inner: int, outer: int, side: int, kernel: int, stride: int, padding: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    extra = stride - 1
    if (side - 1) * stride - 2 * padding + kernel + extra < 1:
        return
    layer = nn.ConvTranspose2d(inner, outer, kernel, stride, padding, extra, bias=bias)
    x = torch.randn(batch, inner, side, side + 1)
    wanted = layer(x)
    mode = Folded()
    with mode:
        found = layer(x)
    assert found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5)
    assert bool(mode.keep) == (outer <= 4 or batch == 1)


def test_it_keeps_away_from_what_it_cannot_do() -> None:
    mode = Folded()
    with mode, torch.no_grad():
        for layer, x in (
            (nn.ConvTranspose2d(4, 4, 3, groups=2), torch.randn(1, 4, 5, 5)),
            (nn.ConvTranspose2d(4, 3, 3, dilation=2), torch.randn(1, 4, 5, 5)),
            (nn.ConvTranspose2d(4, 8, 3), torch.randn(1, 4, 9, 9)),
            (nn.ConvTranspose2d(4, 3, 3).double(), torch.randn(1, 4, 5, 5).double()),
        ):
            assert layer(x).shape[0] == 1 and not mode.keep


def test_weights_are_turned_once_and_the_mode_ends() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3)
    keep: dict[torch.Tensor, torch.Tensor] = {}
    for _ in range(3):
        with Folded(keep):
            layer(torch.randn(1, 2, 4, 4))
    (turned,) = keep.values()
    assert turned.shape == (27, 2) and turned.data_ptr() != layer.weight.data_ptr()
    with pytest.raises(RuntimeError), Folded(keep):
        layer(torch.randn(1, 5, 4, 4))
    count = len(keep)
    nn.ConvTranspose2d(2, 3, 3)(torch.randn(1, 2, 4, 4))
    assert len(keep) == count
