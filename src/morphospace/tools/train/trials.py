"""What a run computes with because a trial on this machine found it faster: its precision, and matrix products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from morphospace.models.contract import Model
from morphospace.training.distributed import World
from morphospace.training.engine import Engine
from morphospace.training.precision import choose_precision
from morphospace.training.products import faster_as_products


def precision_of_all(asked: str, device: torch.device, world: World, saved: Mapping[str, Any] | None = None) -> str:
    """Return the precision of all processes: bf16 only if each of them would take it.

    Args:
        asked: `auto`, `bf16` or `fp32`.
        device: This process's device.
        world: All processes.
        saved: The numbers of the checkpoint that a run continues from.
    """
    chosen = world.all(choose_precision(asked, device, saved))
    return "bf16" if set(chosen) == {"bf16"} else "fp32"


def products_of(engine: Engine, model: Model, say: Callable[[str], None]) -> list[str]:
    """Return which layers a new run on a CPU computes as matrix products, because a trial found that faster."""
    gains = faster_as_products(model, engine.data.batch_size // engine.world.size, engine.precision)
    if gains:
        each = ", ".join(f"{name} ({gain:.1f} times as fast)" for name, gain in gains.items())
        say(f"computed as matrix products, which this CPU does faster: {each}; --no-products leaves it")
    return list(gains)
