"""Stop training before a step whose loss or gradient is not finite, and before such a value is saved."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor

from morphospace.errors import TrainingError
from morphospace.objectives.clock import Clock
from morphospace.training.ema import STATISTICS
from morphospace.training.weights import Files

WAY_OUT = "try a lower --lr, --clip 1 or --precision fp32"
NORM = "/gradient_norm"  # ends the name of a phase's gradient norm, in the log too


class Guard:
    """Checks that losses and gradient norms are finite, on an accelerator without waiting for them.

    Reading a number from an accelerator would make each step wait. So a flag stays on the device, fused optimizers skip
    every step once it is set, and the next report or checkpoint reads it. Optimizers that are not fused (RMSprop) know
    no such flag: once it is set they get gradients of zero.

    Args:
        device: Where losses are computed.

    Attributes:
        reads: Whether every number is read at once.
    """

    def __init__(self, device: torch.device) -> None:
        self.reads = device.type == "cpu"
        self.flag = torch.zeros((), device=device)

    def passes(self, number: Tensor) -> bool:
        """Return whether a loss or norm is finite, as far as is known without waiting."""
        if self.reads:
            return math.isfinite(number.item())
        torch.maximum(self.flag, (~torch.isfinite(number)).float(), out=self.flag)
        return True

    def allows(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether an optimizer may be called; on an accelerator it moves nothing once the flag is set."""
        if self.reads:
            return True  # `passes` has read every number
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = self.flag  # type: ignore[attr-defined]
        else:
            stopped = self.flag.bool()
            for parameter in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
                parameter.grad.masked_fill_(stopped, 0.0)
        return True

    def clean(self) -> bool:
        """Return whether every number so far was finite."""
        return self.reads or not self.flag


def not_finite(sums: Mapping[str, Sequence[Tensor]], clock: Clock, *, clipped: bool) -> TrainingError:
    """Return the error that names the first term that was not finite; `sums` has each term's values, oldest first."""
    taken = {name: torch.stack([*values]) for name, values in sums.items()}
    if not clipped:  # a norm whose square is infinite
        taken |= {name: values.square() for name, values in taken.items() if name.endswith(NORM)}
    bad = {name: (~torch.isfinite(values)).nonzero() for name, values in taken.items()}
    # A phase's loss is named only if all its terms were finite, and its gradient only if the loss was.
    first = sorted(
        (int(at[0]), name.endswith(NORM), name.endswith("/loss"), name) for name, at in bad.items() if len(at)
    )
    index, *_, name = first[0]
    return TrainingError(
        f"{name} is {float(sums[name][index])} at step {clock.step} (image {clock.images})",
        rule="stopped before the update; the last checkpoint is intact",
        way_out=WAY_OUT,
    )


def check_loss(loss: Tensor, of: str) -> None:
    """Refuse to keep a network whose training ended with a loss that is not finite.

    Raises:
        TrainingError: If it did.
    """
    if not math.isfinite(value := float(loss.detach())):
        rule = "nothing was kept; the images or the run's own samples may not be finite"
        raise TrainingError(f"the loss of {of} is {value} at its end", rule=rule, way_out="look at them, or try again")


def check_finite(files: Files, learned: Container[str], clock: Clock) -> None:
    """Refuse to save a value that is not finite, whatever made it so.

    Args:
        files: The tensors of a checkpoint.
        learned: Names of the model's parameters. Its other tensors may hold anything, such as a mask, but for the
            statistics of batch norm.
        clock: The moment.

    Raises:
        TrainingError: If there is such a value; names the tensor.
    """
    for file, tensors in files.items():
        own = file in ("model", "ema")
        for name, tensor in tensors.items():
            if not tensor.is_floating_point() or (own and name not in learned and not name.endswith(STATISTICS)):
                continue
            if tensor.numel() and not math.isfinite(torch.linalg.vector_norm(tensor, math.inf)):
                raise TrainingError(
                    f"{file}/{name} is not finite after step {clock.step} (image {clock.images})",
                    rule="not saved; the last checkpoint is intact",
                    way_out=WAY_OUT,
                )
