"""Convolutions of kernel 4, stride 2 and padding 1 as matrix products.

A CPU's convolutions are slow where a layer has many channels and small maps: its weights do not fit into the cache next
to the core, and are read anew for each image. As one product over all patches of the batch they are read once. Whether
that is faster depends on processor, precision and sizes; `training.products` tries it.

`Patches` and `Folds` are linear, and each is the gradient of the other. All else is torch's own product: gradients of
any order are right, autocast applies, and no gradient is computed that no one asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import require


class Patches(torch.autograd.Function):
    """Maps (B, C, 2 h, 2 w) -> the 4x4 patches that a convolution of stride 2 and padding 1 sees, (B h w, 16 C)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        batch, channels, height, width = maps.shape
        ctx.size = batch, height // 2, width // 2
        padded = functional.pad(maps.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        image, row, column, _ = padded.stride()
        shape = (*ctx.size, 4, 4, channels)
        return padded.as_strided(shape, (image, 2 * row, 2 * column, row, column, 1)).reshape(-1, 16 * channels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return Folds.apply(gradients[0], *ctx.size)


class Folds(torch.autograd.Function):
    """Patches (B h w, 16 C) -> maps (B, C, 2 h, 2 w), channels-last: where patches overlap their values are added."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, batch: int, height: int, width: int) -> Tensor:
        channels = patches.shape[1] // 16
        halves = patches.view(batch, height, width, 2, 2, 2, 2, channels)  # of the patch's rows, then of its columns
        padded = patches.new_zeros(batch, height + 1, 2, width + 1, 2, channels)
        for down in range(2):
            for right in range(2):
                place = padded[:, down : down + height, :, right : right + width]
                place += halves[:, :, :, down, :, right].permute(0, 1, 3, 2, 4, 5)
        maps = padded.view(batch, 2 * height + 2, 2 * width + 2, channels)[:, 1:-1, 1:-1]
        return maps.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return Patches.apply(gradients[0]), None, None, None


def rows_of(weight: Tensor) -> Tensor:
    """Return a kernel (O, C, 4, 4) as a matrix (O, 16 C) in the order of patches; a view if it is channels-last."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


class ProductConv2d(nn.Conv2d):
    """What replaces a convolution's class while it trains; in evaluation mode it is the convolution."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        batch, _, height, width = maps.shape
        results = functional.linear(Patches.apply(maps), rows_of(self.weight), self.bias)
        return results.view(batch, height // 2, width // 2, -1).permute(0, 3, 1, 2)


class ProductConvTranspose2d(nn.ConvTranspose2d):
    """What replaces a transposed convolution's class while it trains; in evaluation mode it is the convolution."""

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not self.training:
            return super().forward(maps, output_size)
        batch, channels, height, width = maps.shape
        patches = maps.permute(0, 2, 3, 1).reshape(-1, channels) @ rows_of(self.weight)
        results = Folds.apply(patches, batch, height, width)
        return results if self.bias is None else results + self.bias.view(-1, 1, 1)


KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: ProductConv2d,
    nn.ConvTranspose2d: ProductConvTranspose2d,
}


def can_be_product(layer: nn.Module, height: int, width: int) -> bool:
    """Return whether a layer is such a convolution, given the size of its input."""
    if type(layer) not in KINDS or (isinstance(layer, nn.Conv2d) and (height % 2 or width % 2)):
        return False
    wanted = {"kernel_size": (4, 4), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    plain = {"output_padding": (0, 0), "padding_mode": "zeros"}
    return all(getattr(layer, name) == value for name, value in (wanted | plain).items())


def use_products(networks: nn.Module, names: Sequence[str]) -> None:
    """Let the layers of these names be computed as products in training; only their class changes.

    Raises:
        SettingError: If there is no such convolution.
    """
    layers = dict(networks.named_modules())
    for name in names:
        why = "is no convolution of this model"
        require(type(layers.get(name)) in KINDS, "products", name, why, "leave all layers as they are: --no-products")
        layers[name].__class__ = KINDS[type(layers[name])]


@contextmanager
def as_convolutions(networks: nn.Module) -> Iterator[None]:
    """Let all layers be torch's own meanwhile."""
    plain = {kind: before for before, kind in KINDS.items()}
    changed = [(layer, type(layer)) for layer in networks.modules() if type(layer) in plain]
    for layer, kind in changed:
        layer.__class__ = plain[kind]
    try:
        yield
    finally:
        for layer, kind in changed:
            layer.__class__ = kind
