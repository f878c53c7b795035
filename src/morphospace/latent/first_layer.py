"""The first layer that takes the code itself, in whatever network decodes: found by watching one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
Decode = Callable[[Tensor, Tensor | None], Tensor]


class _Enough(Exception):
    """What was watched for has passed; the rest of the pass is not needed."""


@contextmanager
def _watched(modules: Sequence[nn.Module], told: Callable[[nn.Module, Tensor], None]) -> Iterator[None]:
    """Within it, `told` hears what goes into each of these modules."""

    def hear(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        told(module, arguments[0])

    handles = [module.register_forward_pre_hook(hear) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class FirstLayer:
    """The first linear layer or convolution whose input begins with the code, and what comes of it.

    A condition may stand behind the code, or have a layer of its own before it: that one is passed by.

    Args:
        networks: All networks of a model.
        decode: Decodes codes (B, D), told conditions (B, K) or None.
        z: Some codes (B, D), in the networks' type and on their device.
        condition: What a conditional model is told with them.
    """

    def __init__(self, networks: nn.Module, decode: Decode, z: Tensor, condition: Tensor | None = None) -> None:
        self.decode, self.dim = decode, z.shape[1]
        order: list[tuple[nn.Module, bool]] = []
        weighted = [module for module in networks.modules() if isinstance(module, WEIGHTED)]

        def note(module: nn.Module, values: Tensor) -> None:
            flat = values.flatten(1)
            takes = flat.shape[0] == len(z) and flat.shape[1] >= self.dim and torch.equal(flat[:, : self.dim], z)
            order.append((module, takes))

        with torch.no_grad(), _watched(weighted, note):
            decode(z, condition)
        place = next((i for i, (_, takes) in enumerate(order) if takes), None)
        self.layer = None if place is None else order[place][0]
        self.after = None if place is None or place + 1 == len(order) else order[place + 1][0]

    @property
    def found(self) -> bool:
        """Whether there is such a layer."""
        return self.layer is not None

    @property
    def weight(self) -> Tensor:
        """A of y = A z + b, (outputs, D): the columns that belong to the code."""
        layer = self.layer
        assert isinstance(layer, WEIGHTED)
        if isinstance(layer, nn.ConvTranspose2d):
            return layer.weight[: self.dim].flatten(1).T
        return layer.weight[:, : self.dim].transpose(0, 1).flatten(1).T

    @torch.no_grad()
    def activations(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what the second layer gets for codes (B, D): the first one's output, after norm and activation.

        Where there is no second layer, the images themselves, flattened.
        """
        if self.after is None:
            return self.decode(z, condition).flatten(1)
        heard: list[Tensor] = []

        def catch(module: nn.Module, values: Tensor) -> None:
            heard.append(values.flatten(1))
            raise _Enough

        with _watched([self.after], catch), suppress(_Enough):
            self.decode(z, condition)
        return heard[0]
