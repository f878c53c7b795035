"""Optimizers by name, learning-rate schedules, and optimizer state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphospace.errors import RunError, SettingError
from morphospace.objectives.clock import Clock, cosine, ramp


def make_optimizer(
    parameters: list[nn.Parameter], kind: str, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """Build Adam, AdamW or RMSprop (without momentum), fused where torch supports it."""
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, alpha=betas[1], weight_decay=weight_decay, foreach=True)
    if kind not in kinds:
        raise SettingError("optimizer", kind, f"must be one of {', '.join(kinds)}, rmsprop")
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return kinds[kind](parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)


def learning_rate(base: float, clock: Clock, *, schedule: str, warmup_images: int, total_images: int) -> float:
    """Return the current learning rate: linear warm-up, then constant, or a cosine down to 0 at the end of the run."""
    rate = base * ramp(clock.images + 1, warmup_images)
    if schedule == "cosine":
        after = max(1, total_images - warmup_images)
        rate *= cosine(max(0, clock.images - warmup_images), after)
    return rate


def optimizer_state(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    """Return an optimizer's state as {"parameter name/slot": tensor}."""
    return {
        f"{names[parameter]}/{slot}": value
        for group in optimizer.param_groups
        for parameter in group["params"]
        for slot, value in optimizer.state.get(parameter, {}).items()
    }


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
            raise RunError("checkpoint", rule=f"optimizer state {key!r} belongs to no parameter of this model")
        parameter = by_name[name]
        if slot == "step":
            kept = value.to(parameter.device) if optimizer.defaults.get("fused") else value.clone()
        elif value.shape != parameter.shape:
            raise RunError(
                "checkpoint",
                rule=f"optimizer state {key!r} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}",
            )
        else:
            kept = torch.empty_like(parameter, memory_format=torch.preserve_format, requires_grad=False)
            kept.copy_(value)
        optimizer.state[parameter][slot] = kept
