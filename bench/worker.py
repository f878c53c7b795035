"""One side of a measurement, in a process of its own; prints one JSON object on its last line.

python -m bench.worker images FOLDER INPUT...       makes the images
python -m bench.worker published CASE FOLDER ...    times the published loop
python -m bench.worker ours CASE FOLDER ...         times ours
python -m bench.worker flop CASE FOLDER ...         counts what one of our steps computes
python -m bench.worker matmul                       times matrix products
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.cases import CASES, Case

LOSSES_OVER = 10  # steps that the loss shown is averaged over
MATMUL_SIZE = 2048
MATMUL_SECONDS = 1.0


def peak_mib() -> float:
    """Return the most memory this process has held.

    Linux counts in what the parent held when it started this process; the parent is kept small for that.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def timed(step: Callable[[], int], warmup: int, steps: int) -> tuple[int, float]:
    """Take steps and return the images and seconds of those after the warm-up."""
    for _ in range(warmup):
        step()
    began = time.perf_counter()
    images = sum(step() for _ in range(steps))
    return images, time.perf_counter() - began


def published(case: Case, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the published loop."""
    from bench.published import LOOPS, batches

    torch.manual_seed(0)
    source = folder / case.input
    loop = LOOPS[case.loop](source if source.is_dir() else source.with_name(f"{case.input}.npy"))
    stream = batches(loop, case.batch, arguments.loader_workers)
    read: list[dict[str, float]] = []

    def step() -> int:
        images = next(stream)
        read.append(loop.step(images))
        return len(images)

    images, seconds = timed(step, arguments.warmup, arguments.steps)
    last = read[-min(LOSSES_OVER, arguments.steps) :]
    losses = {name: statistics.fmean(one[name] for one in last) for name in last[0]}
    return {"precision": "fp32", **result(images, seconds, loop.parameters(), losses)}


def ours(case: Case, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time our engine."""
    from bench.ours import last_losses, make_engine

    model, engine = make_engine(case, folder, arguments.precision, arguments.warmup + arguments.steps)

    def step() -> int:
        engine.step()
        return engine.images_per_step

    images, seconds = timed(step, arguments.warmup, arguments.steps)
    losses = last_losses(engine, min(LOSSES_OVER, arguments.steps))
    return {"precision": engine.precision, **result(images, seconds, model.parameters(), losses)}


def result(images: int, seconds: float, parameters: int, losses: dict[str, float]) -> dict[str, Any]:
    """Return what both sides report."""
    return {
        "images_per_second": images / seconds,
        "images": images,
        "seconds": seconds,
        "peak_mib": peak_mib(),
        "parameters": parameters,
        "losses": losses,
        "threads": torch.get_num_threads(),
    }


def flop(case: Case, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Count the floating-point operations of one of our steps, backward pass included.

    Matrix products and convolutions are counted, a multiplication and an addition as two; the rest is small
    beside them.
    """
    from bench.flops import Flops
    from bench.ours import make_engine

    _, engine = make_engine(case, folder, arguments.precision, 1)
    with Flops() as counter:
        engine.step()
    return {"flop_per_image": counter.total / engine.images_per_step}


def matmul() -> dict[str, Any]:
    """Measure the rate of square matrix products, in GFLOP/s, and say what the machine runs.

    bf16 only where the CPU has it: one without it takes half a minute for one product.
    """
    from morphospace.training.precision import bf16_is_native

    rates = {}
    types = {"fp32": torch.float32}
    if bf16_is_native(torch.device("cpu")):
        types["bf16"] = torch.bfloat16
    for name, dtype in types.items():
        a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE).to(dtype) for _ in range(2))
        out = torch.mm(a, b)
        seconds: list[float] = []
        while len(seconds) < 3 or sum(seconds) < MATMUL_SECONDS:
            began = time.perf_counter()
            torch.mm(a, b, out=out)
            seconds.append(time.perf_counter() - began)
        rates[name] = 2 * MATMUL_SIZE**3 / statistics.median(seconds) / 1e9
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    about = {"size": MATMUL_SIZE, "threads": torch.get_num_threads(), **versions}
    return {"gflop_per_second": rates, **about}


def images(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the images."""
    from bench.images import make_images

    return {"images": make_images(folder, arguments.inputs, arguments.quick)}


def main() -> None:
    """Do what the command line says and print the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    sides = {"published": published, "ours": ours, "flop": flop}
    for name in sides:
        side = tasks.add_parser(name)
        side.add_argument("case", choices=CASES)
        side.add_argument("folder", type=Path)
        side.add_argument("--steps", type=int, default=1)
        side.add_argument("--warmup", type=int, default=0)
        side.add_argument("--precision", default="auto")
        side.add_argument("--loader-workers", type=int, default=0)
    maker = tasks.add_parser("images")
    maker.add_argument("folder", type=Path)
    maker.add_argument("inputs", nargs="+")
    maker.add_argument("--quick", action="store_true")
    tasks.add_parser("matmul")
    arguments = parser.parse_args()
    if arguments.task == "matmul":
        said = matmul()
    elif arguments.task == "images":
        said = images(arguments.folder, arguments)
    else:
        said = sides[arguments.task](CASES[arguments.case], arguments.folder, arguments)
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
