"""Tensors of a training run by name: weights, optimizer state and memory, saved and put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from morphospace.errors import OtherModel, RunError
from morphospace.objectives.phase import Trainable
from morphospace.training.distributed import World
from morphospace.training.ema import Ema

Optimizers = Mapping[str, torch.optim.Optimizer]
Names = Mapping[nn.Parameter, str]
OF_ONE = "take weights and settings of one run"
Files = Mapping[str, Mapping[str, Tensor]]  # a checkpoint's tensors, by file and name


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
        RunError: If they are of another model, or weights alone.
    """
    if "optimizer" not in files:
        rule = "holds weights alone, as of an adopted or published run, and not the state of its training"
        raise RunError("checkpoint", rule=rule, way_out="begin a new run with --from, in another --out")
    load_weights(model.networks, files["model"], "model")
    if ema:
        # Of a run that began before its model had averages, they begin where its weights are.
        load_weights(ema.shadow, files.get("ema", ema.live.state_dict()), "ema")
    leading = files.get("memory", {})  # also for a process that was not there before
    load_weights(model.memory, files.get(f"memory-{world.rank}", leading), "memory")
    for name, optimizer in optimizers.items():
        start = f"{name}/"
        own = {key.removeprefix(start): value for key, value in files["optimizer"].items() if key.startswith(start)}
        load_optimizer_state(optimizer, names, own)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Copy named weights into a network, whose memory layout stays.

    Raises:
        RunError: If a name is missing or unknown, or a shape differs.
    """
    own = network.state_dict()
    check_shapes({key: value.shape for key, value in weights.items()}, shapes_of(network), name)
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(weights[key])


def shapes_of(network: nn.Module) -> dict[str, Sequence[int]]:
    """Return the shape of each weight of a network."""
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def check_shapes(found: Mapping[str, Sequence[int]], wanted: Mapping[str, Sequence[int]], name: str) -> None:
    """Refuse weights that are not those of a network.

    Raises:
        RunError: If a name is missing or unknown, or a shape differs.
    """
    if odd := sorted(set(wanted) ^ set(found)):
        rule = f"{name} has not the weights of this model ({odd[0]!r} and {len(odd) - 1} more differ)"
        raise OtherModel("checkpoint", rule=rule, way_out=OF_ONE)
    for key, shape in wanted.items():
        if tuple(found[key]) != tuple(shape):
            rule = f"{name}/{key} has shape {tuple(found[key])}, not {tuple(shape)}"
            raise OtherModel("checkpoint", rule=rule, way_out=OF_ONE)


def optimizer_state(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    """Return an optimizer's state as {"parameter name/slot": tensor}."""
    return {
        f"{names[parameter]}/{slot}": value
        for group in optimizer.param_groups
        for parameter in group["params"]
        for slot, value in optimizer.state.get(parameter, {}).items()
    }


def stays_there(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer counts its steps on the device."""
    return bool(optimizer.defaults.get("fused") or optimizer.defaults.get("capturable"))


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], state: Mapping[str, Tensor]
) -> None:
    """Put state made by `optimizer_state` back.

    Every slot gets its parameter's memory layout: fused Adam walks memory linearly and would silently pair a contiguous
    slot wrongly with channels-last weights.

    Raises:
        RunError: If a slot belongs to no parameter, or has another shape.
    """
    by_name = {names[p]: p for group in optimizer.param_groups for p in group["params"]}
    for key, value in state.items():
        name, _, slot = key.rpartition("/")
        if name not in by_name:
            rule = f"optimizer state {key!r} belongs to no parameter of this model"
            raise RunError("checkpoint", rule=rule, way_out=OF_ONE)
        parameter = by_name[name]
        if slot == "step":
            kept = value.clone().to(parameter.device) if stays_there(optimizer) else value.clone()
        elif value.shape != parameter.shape:
            rule = f"optimizer state {key!r} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}"
            raise RunError("checkpoint", rule=rule, way_out=OF_ONE)
        else:
            kept = torch.empty_like(parameter, memory_format=torch.preserve_format, requires_grad=False)
            kept.copy_(value)
        optimizer.state[parameter][slot] = kept
