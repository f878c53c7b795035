"""What it costs a run of the Play room to be watched: processor time of its frames, over that of the training.

The same runs, with the same seed, train in one process, in turn: alone, and by the Play room's own worker, for a page
that draws every frame at once. The cost is the processor time that goes into frames and counts, over the rest. The
times of a step, alone and watched, are there for comparison; on a busy machine they differ by chance. Frames are those
in a second of processor time; by the clock there are 25 at most.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

__all__ = ["add_arguments", "main"]

CASES: dict[str, dict[str, Any]] = {
    "dcgan, ring": {"gan": "dcgan", "data": "ring"},
    "dcgan, ring, unrolled 4": {"gan": "dcgan", "data": "ring", "settings": {"unrolled": 4}},
    "wgan-gp, ring": {"gan": "wgan-gp", "data": "ring"},
    "dcgan, digits": {"gan": "dcgan", "data": "digits"},
    "r3gan, faces": {"gan": "r3gan", "data": "faces"},
}
TARGET = 0.05  # of the training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--seconds", type=float, default=3.0, help="of processor time that each part takes, about")
    parser.add_argument("--rounds", type=int, default=5, help="times that both are measured")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print a table; 1 where watching costs more than it may."""
    import torch

    from morphospace.training.precision import keep_freed_blocks

    torch.set_num_threads(1)
    keep_freed_blocks()
    print("| run | ms a step | watched | cost | frames | kB a frame |")
    print("|---|---:|---:|---:|---:|---:|")
    worst = 0.0
    for name, make in CASES.items():
        alone, watched, cost, rate, size = measured(make, arguments.seconds, arguments.rounds)
        worst = max(worst, cost)
        numbers = f"{1e3 * statistics.median(alone):.2f} | {1e3 * statistics.median(watched):.2f} | {cost:.1%}"
        print(f"| {name} | {numbers} | {rate:.0f} | {size / 1e3:.1f} |", flush=True)
    return int(worst > TARGET)


def measured(make: dict[str, Any], seconds: float, rounds: int) -> tuple[list[float], list[float], float, float, float]:
    """Return seconds of processor time a step, alone and watched; the cost, frames a second and their bytes."""
    from morphospace.studio.live import commands
    from morphospace.studio.live.run import Run
    from morphospace.studio.live.worker import Trainer

    sizes: list[int] = []
    shown = 0.0
    command: Any = commands.read({"kind": "make", **make})
    run, page = Run(command.chosen()), Trainer(0, lambda frame: sizes.append(len(frame)))
    page.hear(command)
    assert page.run
    show = page.show

    def timed(*, measure: bool) -> None:
        nonlocal shown
        began = time.process_time()
        show(measure=measure)
        shown += time.process_time() - began

    def alone(steps: int) -> None:
        for _ in range(steps):
            run.step()

    def watched(steps: int) -> None:
        assert page.run
        page.hear(commands.Go(page.run.steps + steps))
        while page.going:
            page.hear(commands.Took())
            page.work(10**9)

    alone(20)
    watched(20)
    began = time.process_time()
    alone(20)
    steps = max(20, round(20 * seconds / (time.process_time() - began)))
    times: dict[Any, list[float]] = {alone: [], watched: []}
    sizes.clear()
    page.show = timed  # type: ignore[method-assign]
    for number in range(rounds):
        for work in (alone, watched) if number % 2 else (watched, alone):
            began = time.process_time()
            work(steps)
            times[work].append((time.process_time() - began) / steps)
    whole = steps * sum(times[watched])
    return times[alone], times[watched], shown / (whole - shown), len(sizes) / whole, statistics.mean(sizes)
