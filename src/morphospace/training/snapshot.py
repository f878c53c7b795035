"""The tensors that exact resume needs, by file: taken from networks and optimizers, and put back into them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphospace.objectives.phase import Trainable
from morphospace.training.distributed import World
from morphospace.training.ema import Ema
from morphospace.training.optim import load_optimizer_state, optimizer_state
from morphospace.training.weights import load_weights

Optimizers = Mapping[str, torch.optim.Optimizer]
Names = Mapping[nn.Parameter, str]
Files = Mapping[str, Mapping[str, Tensor]]


def tensors_of(model: Trainable, ema: Ema | None, optimizers: Optimizers, names: Names, world: World) -> Files:
    """Return all tensors that change in training; they are the live ones, not copies."""
    files: dict[str, Mapping[str, Tensor]] = {
        "model": model.networks.state_dict(),
        "optimizer": {
            f"{name}/{key}": value
            for name, optimizer in optimizers.items()
            for key, value in optimizer_state(optimizer, names).items()
        },
    }
    if ema:
        files["ema"] = ema.shadow.state_dict()
    if memory := model.memory.state_dict():
        # Each process replays its own fakes: a file each, the leading one's name without a number.
        files |= {f"memory-{rank}" if rank else "memory": each for rank, each in enumerate(world.gathered(memory))}
    return files


def load_tensors(
    files: Files, model: Trainable, ema: Ema | None, optimizers: Optimizers, names: Names, world: World
) -> None:
    """Put tensors made by `tensors_of` back.

    Raises:
        RunError: If they are of another model.
    """
    load_weights(model.networks, files["model"], "model")
    if ema:
        load_weights(ema.shadow, files["ema"], "ema")
    leading = files.get("memory", {})  # also for a process that was not there before
    load_weights(model.memory, files.get(f"memory-{world.rank}", leading), "memory")
    for name, optimizer in optimizers.items():
        start = f"{name}/"
        own = {key.removeprefix(start): value for key, value in files["optimizer"].items() if key.startswith(start)}
        load_optimizer_state(optimizer, names, own)
