"""Decoding one 64x64 image at a time, with one thread and with all, on an idle machine and beside a busy program.

The decoder is that of a DCGAN (3.6 million parameters; its weights at random, which costs the same). What a person who
moves a slider waits for is the 95th percentile rather than the median: a network of small layers, whose threads meet
after each, waits for the system to give a core back whenever another program has it. `chosen` is what `ms.Decoder`
takes, by the work of one image. Each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "main"]

FRAMES, QUICK_FRAMES, WARMUP = 500, 40, 10
TARGET_MS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="few frames: does it run? The numbers mean nothing")
    parser.add_argument("--frames", type=int, help=f"frames of each case (default {FRAMES})")
    parser.add_argument("--out", type=Path, help="write every number to this JSON file")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print a table; 1 where the chosen threads miss the target at the median."""
    frames = arguments.frames or (QUICK_FRAMES if arguments.quick else FRAMES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows: list[dict[str, Any]] = []
    for busy in (0, max(1, cores - 1)):
        for threads in ("chosen", "1", str(cores)):
            with beside(busy):
                rows.append({"busy": busy, "asked": threads, **in_a_process(threads, frames)})
    first = rows[0]
    size = f"{first['parameters']:,} parameters, {first['flop'] / 1e6:,.0f} MFLOP, {first['precision']}"
    print(f"one 64x64x3 image, {size}; {frames} frames; {cores} cores; torch {first['torch']}\n")
    print("| other programs | threads | median ms | p95 ms | longest ms |\n| ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        asked = f"{row['threads']} (chosen)" if row["asked"] == "chosen" else row["asked"]
        print(f"| {row['busy']} | {asked} | {row['median']:.2f} | {row['p95']:.2f} | {row['longest']:.1f} |")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    missed = [row for row in rows if row["asked"] == "chosen" and row["median"] > TARGET_MS]
    if missed and not arguments.quick:
        print(f"\nabove {TARGET_MS:g} ms at the median: {[round(row['median'], 2) for row in missed]}")
    return int(bool(missed) and not arguments.quick)


@contextmanager
def beside(programs: int) -> Iterator[None]:
    """Keep so many other processes busy while something runs."""
    context = multiprocessing.get_context("spawn")
    stop, others = context.Event(), []
    for _ in range(programs):
        started = context.Event()
        others.append(context.Process(target=be_busy, args=(started, stop), daemon=True))
        others[-1].start()
        started.wait(60)
    try:
        yield
    finally:
        stop.set()
        for other in others:
            other.join()


def be_busy(started: Event, stop: Event) -> None:
    """Compute until told to stop."""
    started.set()
    while not stop.is_set():
        sum(i * i for i in range(200_000))


def in_a_process(threads: str, frames: int) -> dict[str, Any]:
    """Return what `measure` says, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(measure, (threads, frames))


def measure(threads: str, frames: int) -> dict[str, Any]:
    """Time single frames; `chosen` is `Decoder` as it is, a number overrules it."""
    import tempfile

    import torch

    import morphospace as ms

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)  # whatever the environment says: a person's machine says nothing
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MORPHOSPACE_CACHE", folder)
        session = ms.Decoder(network(Path(folder)))
    if threads != "chosen":
        session.threads_for = lambda count: int(threads)  # type: ignore[method-assign]
    codes = torch.randn(frames + WARMUP, 1, session.run.model.latent_dim)
    seconds = []
    for code in codes:
        began = time.perf_counter()
        session.frames(code)
        seconds.append(time.perf_counter() - began)
    times = [1e3 * value for value in seconds[WARMUP:]]
    generator = session.run.model.networks["generator"]
    return {
        "threads": session.threads_for(1),
        "median": statistics.median(times),
        "p95": statistics.quantiles(times, n=20)[-1],
        "longest": max(times),
        "flop": session.flop,
        "parameters": sum(p.numel() for p in generator.parameters()),
        "precision": str(session.run.model.dtype).removeprefix("torch."),
        "torch": torch.__version__,
    }


def network(folder: Path) -> Any:
    """Return a run of a DCGAN for 64x64 colour images, hardly trained."""
    import numpy as np

    import morphospace as ms
    from morphospace.data.pack import in_memory_pack

    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    few = {"images": 8, "batch_size": 8, "report_images": 10**6, "valid": 0.0, "device": "cpu"}
    return ms.train("dcgan", data=in_memory_pack("noise", train=images), out=folder / "run", **few)


if __name__ == "__main__":
    sys.exit("run `python -m bench decode`")
