"""Which phase learns which parameters, with which optimizer, and at which learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from morphospace.errors import SettingError, require
from morphospace.objectives.clock import Clock, cosine, ramp
from morphospace.objectives.phase import Phase

Learned = Mapping[str, Sequence[nn.Parameter]]  # parameters by the name of the phase that learns them


def parameters_of(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Return the trainable parameters of modules, each once, in order."""
    return list(dict.fromkeys(p for module in modules for p in module.parameters() if p.requires_grad))


def check_phases(rounds: Sequence[Sequence[Phase]], learned: Learned, names: Mapping[nn.Parameter, str]) -> None:
    """Check that phases have different names and cover all parameters, and that simultaneous ones share none.

    Raises:
        SettingError: If they do not.
    """
    phases = [phase for together in rounds for phase in together]
    if len(learned) != len(phases):
        raise SettingError("phases", [p.name for p in phases], "every phase needs a name of its own")
    covered = {p for each in learned.values() for p in each}
    for parameter, name in names.items():
        if parameter.requires_grad and parameter not in covered:
            rule = f"no phase learns the parameter {name!r}"
            raise SettingError("phases", rule=rule, way_out="add its module to a `learns`")
    for together in rounds:
        shared = [p for phase in together for p in learned[phase.name]]
        if len(shared) != len(set(shared)):
            rule = "simultaneous phases must not learn the same parameter"
            raise SettingError("phases", [phase.name for phase in together], rule)


def optimizers_for(phases: Sequence[Phase], learned: Learned, settings: Any) -> dict[str, torch.optim.Optimizer]:
    """Build one optimizer for each name that phases use, over the union of what they learn.

    Raises:
        SettingError: If phases that share an optimizer have different learning rates.
    """
    s = settings
    groups: dict[str, dict[nn.Parameter, None]] = {}
    rates: dict[str, float] = {}
    for phase in phases:
        name = phase.optimizer or phase.name
        groups.setdefault(name, {}).update(dict.fromkeys(learned[phase.name]))
        rate = phase.lr or s.lr
        known = rates.setdefault(name, rate)
        why = f"the optimizer {name!r} has the rate {known:g} in another phase; phases that share one need one rate"
        require(rate == known, f"lr of phase {phase.name!r}", rate, why)
    return {
        name: make_optimizer(list(group), s.optimizer, rates[name], s.betas, s.eps, s.weight_decay)
        for name, group in groups.items()
    }


def make_optimizer(
    parameters: list[nn.Parameter],
    kind: str,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Build Adam, AdamW or RMSprop (without momentum), fused where torch supports it.

    On a GPU all that a step changes lies there, learning rates too, so that steps can be captured (`training.graphs`).
    """
    cuda = all(p.device.type == "cuda" for p in parameters)
    kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if kind == "rmsprop":
        more: dict[str, Any] = {"alpha": betas[1], "foreach": True}
        return on_device(
            torch.optim.RMSprop(parameters, lr=lr, eps=eps, weight_decay=weight_decay, capturable=cuda, **more)
        )
    if kind not in kinds:
        raise SettingError("optimizer", kind, f"must be one of {', '.join(kinds)}, rmsprop")
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    common: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
    return on_device(kinds[kind](parameters, **common, fused=fused, capturable=cuda))


def on_device(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Put the learning rates beside the parameters, where these are on a GPU."""
    for group in optimizer.param_groups:
        device = group["params"][0].device
        if device.type == "cuda":
            group["lr"] = torch.full((), group["lr"], device=device)
    return optimizer


def learning_rate(base: float, clock: Clock, *, schedule: str, warmup_images: int, total_images: int) -> float:
    """Return the current learning rate: a linear warm-up, then what the schedule says.

    `cosine` goes down to 0 at the end of the run. `trapezoid` is constant and goes down to 0 linearly over the last
    fifth, which does as well as a cosine (Hagele et al. 2024).
    """
    rate = base * ramp(clock.images + 1, warmup_images)
    if schedule == "cosine":
        after = max(1, total_images - warmup_images)
        rate *= cosine(max(0, clock.images - warmup_images), after)
    elif schedule == "trapezoid":
        rate *= ramp(max(0, total_images - clock.images), total_images // 5)
    return rate
