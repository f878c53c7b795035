"""Floating-point operations of whatever runs within a block: matrix products and convolutions, backward included.

Torch's own formulas, without its mode: that one also follows modules by hooks, which refuse `torch.autograd.grad` with
respect to parameters; and it charges the gradient of a grouped convolution's weights as often as there are groups.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["Flops"]

BACKWARD = torch.ops.aten.convolution_backward


class Flops(TorchDispatchMode):
    """Counts while it is entered; a multiplication and an addition are two.

    Attributes:
        total: Operations so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry an operation out, and count it."""
        out = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
            if function.overloadpacket is BACKWARD and args[9] > 1 and args[10][1]:
                only_weights = [*args[:10], [False, True, False]]
                weights = formula(*only_weights, out_val=out)
                self.total += weights // args[9] - weights
        return out
