"""Stop training before a step whose loss is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from morphospace.errors import TrainingError
from morphospace.objectives.clock import Clock


class Guard:
    """Checks that losses are finite, on an accelerator without waiting for them.

    Reading a number from an accelerator would make each step wait. So a flag stays on the device, fused optimizers skip
    every step once it is set, and the next report or checkpoint reads it. Optimizers that are not fused (RMSprop) have
    no such flag: for them the number is read.

    Args:
        device: Where losses are computed.

    Attributes:
        reads: Whether every loss is read at once.
    """

    def __init__(self, device: torch.device) -> None:
        self.reads = device.type == "cpu"
        self.flag = torch.zeros((), device=device)

    def passes(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether the optimizer may step on a loss, as far as is known without waiting."""
        if self.reads:
            return math.isfinite(loss.item())
        self.flag = torch.maximum(self.flag, (~torch.isfinite(loss)).float())
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = self.flag  # type: ignore[attr-defined]
            return True
        return self.clean()

    def clean(self) -> bool:
        """Return whether every loss so far was finite."""
        return self.reads or not self.flag


def not_finite(sums: Mapping[str, Sequence[Tensor]], clock: Clock) -> TrainingError:
    """Return the error that names the first term that was not finite; `sums` has each term's values, oldest first."""
    bad = {name: (~torch.isfinite(torch.stack([*values]))).nonzero() for name, values in sums.items()}
    # A phase's loss is named only if all its terms were finite.
    first = sorted((int(at[0]), name.endswith("/loss"), name) for name, at in bad.items() if len(at))
    index, _, name = first[0]
    return TrainingError(
        f"{name} is {float(sums[name][index])} at step {clock.step} (image {clock.images})",
        rule="stopped before the update; the last checkpoint is intact",
        way_out="try a lower --lr, --clip 1 or --precision fp32",
    )
