"""Convolutions as matrix products are torch's own, to rounding, with gradients of any order."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from morphospace.errors import SettingError
from morphospace.models.products import KINDS, as_convolutions, can_be_product, use_products

SMALL = st.integers(1, 4)


def twins(kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], inputs: int, outputs: int, bias: bool) -> list[Any]:
    """The same layer twice, the second as a product."""
    layer = kind(inputs, outputs, 4, 2, 1, bias=bias).double().to(memory_format=torch.channels_last)
    pair = nn.ModuleDict({"torch": layer, "product": copy.deepcopy(layer)})
    use_products(pair, ["product"])
    return [pair["torch"], pair["product"]]


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(list(KINDS)), sizes=st.tuples(SMALL, SMALL, SMALL, SMALL, SMALL), bias=st.booleans())
def test_values_and_gradients_are_those_of_torch(kind: Any, sizes: tuple[int, ...], bias: bool) -> None:
    batch, inputs, outputs, height, width = sizes
    layers = twins(kind, inputs, outputs, bias)
    maps = torch.randn(batch, inputs, 2 * height, 2 * width, dtype=torch.float64, requires_grad=True)
    results = [layer(maps) for layer in layers]
    assert torch.allclose(*results, atol=1e-12)
    weights = torch.randn_like(results[0])
    gradients = [
        torch.autograd.grad((result * weights).sum(), [maps, *layer.parameters()])
        for layer, result in zip(layers, results)
    ]
    for ours, own in zip(*gradients, strict=True):
        assert torch.allclose(ours, own, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_both_orders_are_right(kind: Any) -> None:
    layer = twins(kind, 2, 3, True)[1]
    maps = torch.randn(2, 2, 4, 2, dtype=torch.float64, requires_grad=True)

    def squared(maps: Tensor, *_: Tensor) -> Tensor:
        return layer(maps).square()

    inputs = (maps, *layer.parameters())
    assert torch.autograd.gradcheck(squared, inputs)
    assert torch.autograd.gradgradcheck(squared, inputs)


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_is_computed_that_no_one_asked_for(kind: Any) -> None:
    """The generator learns through the critic, whose own gradient would cost as much again."""
    layer = twins(kind, 2, 3, False)[1]
    maps = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    loss = layer(maps).sum()
    with Products() as counted:
        loss.backward(inputs=[maps])
    assert counted.count["mm"] == 1 and layer.weight.grad is None


def test_half_precision_is_that_of_autocast() -> None:
    own, product = (layer.float() for layer in twins(nn.Conv2d, 8, 8, True))
    maps = torch.randn(4, 8, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = own(maps), product(maps)
    assert results[0].dtype == results[1].dtype == torch.bfloat16
    assert torch.allclose(*results, rtol=0.02, atol=0.02)


def test_layers_are_torchs_own_in_evaluation_and_when_asked() -> None:
    own, product = twins(nn.Conv2d, 2, 2, True)
    maps = torch.randn(1, 2, 5, 5, dtype=torch.float64)  # an odd size, which no product takes
    assert torch.equal(own.eval()(maps), product.eval()(maps))
    with as_convolutions(nn.ModuleList([product])):
        assert type(product) is nn.Conv2d
    assert type(product) is KINDS[nn.Conv2d]


def test_only_halving_convolutions_are_taken() -> None:
    assert can_be_product(nn.Conv2d(2, 2, 4, 2, 1), 8, 6)
    assert not can_be_product(nn.Conv2d(2, 2, 4, 2, 1), 7, 6)
    assert can_be_product(nn.ConvTranspose2d(2, 2, 4, 2, 1), 7, 5)
    assert not can_be_product(nn.ConvTranspose2d(2, 2, 4, 2, 1, output_padding=1), 7, 5)
    for other in (nn.Conv2d(2, 2, 3, 1, 1), nn.Conv2d(2, 2, 4, 2, 1, groups=2), nn.Linear(2, 2)):
        assert not can_be_product(other, 8, 8)
    with pytest.raises(SettingError, match="products = 'x'"):
        use_products(nn.ModuleDict({"x": nn.Linear(1, 1)}), ["x"])
