"""Transposed convolutions of very few pixels, as one matrix product and a fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Folded"]

FEW_PIXELS = 64
FEW_CHANNELS = 4


class Folded(TorchFunctionMode):
    """Computes `conv_transpose2d` while it is on as a product and a fold, where that is quicker on a CPU.

        fold(W' x),   x (C_in, H W),  W' (C_out k k, C_in),

    That is for one image of at most 8x8 pixels, whose layer is a matter of reading its weights once, and into few
    channels (the last layer, three colours), which leave a blocked convolution's lanes empty. A 3.6-million-parameter
    decoder of 64x64 images takes half the time on one thread, a single image being asked for.
    Elsewhere the library's own is called. The same sums in another order: results agree to rounding, so this is for
    frames that a person looks at, not for training.

    Args:
        keep: Transposed weights by weight, which stay the same for as long as this is used; filled as they are met.
    """

    def __init__(self, keep: dict[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.keep = {} if keep is None else keep

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.conv_transpose2d and len(args) == 8 and not kwargs and _suits(*args):
            return self.folded(*args[:6])
        return func(*args, **kwargs)

    def folded(self, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, extra: Any) -> Tensor:
        """Convolve (B, C_in, H, W) by weight (C_in, C_out, k, l); (B, C_out, H', W')."""
        if weight not in self.keep:
            self.keep[weight] = weight.detach().flatten(1).t().contiguous()
        sides = zip(x.shape[2:], stride, padding, weight.shape[2:], extra)
        size = tuple((n - 1) * s - 2 * p + k + e for n, s, p, k, e in sides)
        columns = self.keep[weight] @ x.flatten(2)
        image = functional.fold(columns, size, tuple(weight.shape[2:]), padding=tuple(padding), stride=tuple(stride))
        return image if bias is None else image + bias[:, None, None]


def _suits(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, extra: Any, groups: int, dilation: Any
) -> bool:
    count, _, height, width = x.shape
    few = weight.shape[1] <= FEW_CHANNELS or (count == 1 and height * width <= FEW_PIXELS)
    return few and x.device.type == "cpu" and x.dtype == torch.float32 and groups == 1 and set(dilation) == {1}
