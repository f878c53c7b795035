"""One model's step, counted and profiled in a process of its own; prints one JSON object on its last line.

python -m bench.step_worker MODEL FOLDER PRECISION [--quick]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from bench.cases import CASES
from bench.flops import Flops
from bench.ours import make_engine
from bench.step import GROUPS

SECONDS = 12.0  # of the steps that are timed
SIDE, COPIED, SMALL = 2048, 1 << 28, 2000  # of the products, bytes of the copy, smallest calls
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WORDS = {
    "products": ("conv", "mm", "matmul", "linear"),
    "norms and activations": ("norm", "relu", "threshold", "clamp", "sigmoid", "tanh", "softplus"),
    "copies and casts": ("copy", "_to_", "cat", "index_select", "clone", "contiguous"),
    "optimizer": ("adam", "Optimizer", "foreach"),
}


class Work(Flops):
    """Counts calls too, and the bytes that all but products read and write.

    Attributes:
        calls: Operations so far, views left out.
        moved: Bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.moved = 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry an operation out, and count it."""
        out = super().__torch_dispatch__(function, types, args, kwargs)
        if not function.is_view:
            self.calls += 1
            if function.overloadpacket not in flop_registry:
                self.moved += sum(t.nbytes for t in tensors((args, kwargs, out)))
        return out


def tensors(values: Any) -> list[Tensor]:
    """Return the tensors among values, an in-place result counted as read and written."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    return [t for value in values for t in tensors(value)] if isinstance(values, list | tuple) else []


def fastest(work: Callable[[], object], times: int) -> float:
    """Return the least processor time of a call, in seconds: what other programs take away is no property of it."""
    work()
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def prices(precision: str) -> dict[str, float]:
    """Measure the rates of products and copies, and the price of the smallest call."""
    a, b = (torch.ones(SIDE, SIDE, dtype=TYPES[precision]) for _ in range(2))
    source = torch.ones(COPIED // 4)
    target, one = torch.empty_like(source), torch.ones(1)

    def calls() -> None:
        for _ in range(SMALL):
            one.add(1)

    return {
        "product_rate": 2 * SIDE**3 / fastest(lambda: torch.mm(a, b), 5),
        "copy_rate": 2 * COPIED / fastest(lambda: target.copy_(source), 5),
        "call_us": fastest(calls, 5) / SMALL * 1e6,
    }


def shares(step: Callable[[], None], steps: int) -> dict[str, float]:
    """Profile steps and return each group's share of their time."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            step()
    sums = dict.fromkeys(GROUPS, 0.0)
    for event in profile.key_averages():
        group = next((group for group, words in WORDS.items() if any(word in event.key for word in words)), GROUPS[-1])
        sums[group] += event.self_cpu_time_total
    return {group: value / sum(sums.values()) for group, value in sums.items()}


def measured(name: str, folder: Path, precision: str, *, quick: bool) -> dict[str, Any]:
    """Count, time and profile the steps of a model."""
    case = CASES[name]
    _, engine = make_engine(case, folder, precision, 10**6)
    engine.step()
    with Work() as work:
        engine.step()
    once = fastest(engine.step, 1)
    steps = 1 if quick else max(2, round(SECONDS / 6 / once))
    seconds = []
    for _ in range(1 if quick else 6):
        began = time.process_time()
        for _ in range(steps):
            engine.step()
        seconds.append((time.process_time() - began) / steps)
        engine.sums.clear()
    step, price = statistics.median(seconds), prices(engine.precision)
    return {
        "model": name,
        "precision": engine.precision,
        "products": list(engine.products),
        "step_ms": step * 1e3,
        "images_per_second": engine.images_per_step / step,
        "flop": work.total,
        "bytes": work.moved,
        "calls": work.calls,
        **price,
        "floor_ms": {
            "products": work.total / price["product_rate"] * 1e3,
            "memory": work.moved / price["copy_rate"] * 1e3,
            "calls": work.calls * price["call_us"] / 1e3,
        },
        "shares": shares(engine.step, min(steps, 20)),
    }


if __name__ == "__main__":
    model, where, chosen, *rest = sys.argv[1:]
    print(json.dumps(measured(model, Path(where), chosen, quick="--quick" in rest)))
