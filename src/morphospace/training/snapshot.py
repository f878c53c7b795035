"""An engine's moment as tensors and numbers, and the way back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from morphospace.training.events import State, remembered, reminded
from morphospace.training.optim import load_optimizer_state, optimizer_state
from morphospace.training.selection import LOSS
from morphospace.training.weights import load_weights

if TYPE_CHECKING:
    from morphospace.training.engine import Engine


def state_of(engine: Engine, spent: float = 0.0) -> State:
    """Return all that exact resume needs; the tensors are the live ones, not copies.

    Args:
        engine: Whose moment.
        spent: Seconds of training that are not reported yet.
    """
    tensors: dict[str, Mapping[str, Tensor]] = {
        "model": engine.model.networks.state_dict(),
        "optimizer": {
            f"{name}/{key}": value
            for name, optimizer in engine.optimizers.items()
            for key, value in optimizer_state(optimizer, engine.names).items()
        },
    }
    if engine.ema:
        tensors["ema"] = engine.ema.shadow.state_dict()
    if memory := engine.model.memory.state_dict():
        # What each process replays are its own fakes: a file each, the leading one's name without a number.
        every = enumerate(engine.world.gathered(memory))
        tensors |= {f"memory-{rank}" if rank else "memory": held for rank, held in every}
    numbers = {
        "step": engine.steps,
        "images": engine.clock.images,
        "epoch": engine.clock.epoch,
        "seconds": engine.seconds + spent,
        "selection": engine.selection.state(),
        "world": engine.world.size,
        "device": _card(engine.device),
        "threads": torch.get_num_threads(),
        "precision": engine.precision,
        "torch": torch.__version__,
        "listeners": remembered(engine.listeners),
    }
    return State(tensors, numbers)


def _card(device: torch.device) -> str:
    """Return what computes, by the name its maker gives it where there is one."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def restore(engine: Engine, state: State) -> None:
    """Go back to a saved moment.

    Raises:
        RunError: The state is of another model.
    """
    load_weights(engine.model.networks, state.tensors["model"], "model")
    if engine.ema:
        load_weights(engine.ema.shadow, state.tensors["ema"], "ema")
    leading = state.tensors.get("memory", {})  # also for a process that was not there before
    load_weights(engine.model.memory, state.tensors.get(f"memory-{engine.world.rank}", leading), "memory")
    for name, optimizer in engine.optimizers.items():
        mine = {
            k.removeprefix(f"{name}/"): v for k, v in state.tensors["optimizer"].items() if k.startswith(f"{name}/")
        }
        load_optimizer_state(optimizer, engine.names, mine)
    numbers: Mapping[str, Any] = state.numbers
    engine.steps, engine.seconds = int(numbers["step"]), float(numbers["seconds"])
    engine.selection.load_state(numbers.get("selection") or _chosen_by_loss(numbers))
    reminded(engine.listeners, numbers.get("listeners"))


def _chosen_by_loss(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a selection as it was saved when there was nothing but the loss to choose by."""
    best = numbers.get("best")
    known = None if best is None else [best, numbers["images"]]
    reference = None if best is None else [best, 0.0]
    return {"by": LOSS, "conditions": "", "best": known, "reference": reference, "waited": 0}
