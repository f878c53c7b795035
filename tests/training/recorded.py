"""What stands in for CUDA graphs on the CPU: the operations of a step, repeated with the same numbers and addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from morphospace.training.engine import Engine
from morphospace.training.graphs import Graphs

# Members whose critic remembers fakes: how many there are is a number that Python reads in each step.
NOT_CAPTURED = ("dcgan-replay",)


class Operations(TorchDispatchMode):
    """Notes each operation below autograd with its arguments, and repeats them all.

    As in a CUDA graph, nothing of Python runs again: numbers are those of the capture, and tensors lie where they lay.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[Any, Any, Any, list[Tensor | None]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Aliases, because the shape of a tensor may be changed in place later.
        held = tree_map_only(Tensor, Tensor.detach, (args, kwargs or {}))
        result = function(*args, **(kwargs or {}))
        places = {storage(each) for each in tree_leaves(held) if isinstance(each, Tensor)}
        made = [each.detach() for each in tree_leaves(result) if isinstance(each, Tensor)]
        # A view, and what was changed in place, lies in memory that is known already.
        self.noted.append((function, *held, [None if storage(each) in places else each for each in made]))
        return result

    def replay(self) -> None:
        """Compute everything again, into the same memory."""
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for function, args, kwargs, made in self.noted:
                again = [each for each in tree_leaves(function(*args, **kwargs)) if isinstance(each, Tensor)]
                for target, value in zip(made, again, strict=True):
                    if target is not None:
                        target.copy_(value)


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class StandIn:
    """Captures by noting operations."""

    def aside(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def capture(self, step: Callable[[], None]) -> Callable[[], object]:
        operations = Operations()
        with operations:
            step()
        return operations.replay


def as_on_a_gpu(engine: Engine) -> Engine:
    """Let an engine read no loss, and keep its learning rates in tensors."""
    engine.guard.reads = False
    for optimizer in engine.optimizers.values():
        for group in optimizer.param_groups:
            group |= {"lr": torch.tensor(group["lr"], dtype=torch.float64), "capturable": True}
    return engine


def with_graphs(engine: Engine, said: list[str] | None = None) -> Engine:
    """Let an engine on the CPU capture its steps as it does on a GPU."""
    as_on_a_gpu(engine)
    engine.graphs = Graphs(engine, StandIn(), (said if said is not None else []).append)
    return engine
