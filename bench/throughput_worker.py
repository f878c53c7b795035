"""One model's throughput, in a process of its own; prints one JSON object on its last line.

python -m bench.throughput_worker beside MODEL SIZE   alternates with its base model
python -m bench.throughput_worker alone MODEL SIZE    trains it alone, for its peak memory
python -m bench.throughput_worker matmul              times matrix products
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from typing import Any

import torch

from bench.flops import Flops
from bench.throughput import ALTERNATIONS, BASES, BATCH, EXTRAS
from bench.worker import matmul, peak_mib
from morphospace.data.batches import Batches
from morphospace.data.pack import Pack
from morphospace.data.prepare import prepare
from morphospace.models.conditioning import Conditioning
from morphospace.randomness import stream
from morphospace.runs.configuration import resolve
from morphospace.training.engine import Engine
from morphospace.training.precision import choose_device, choose_precision, keep_freed_blocks, to_device

SECONDS = 0.5  # of one side's turn
SOURCE = "toyfaces:2048"


def prepared(size: int) -> Pack:
    """Draw the faces."""
    configuration = resolve("vae", overrides={"data": SOURCE, "size": str(size)})
    return prepare(configuration.data)


def make_engine(name: str, size: int, pack: Pack) -> Engine:
    """Set a model up as `morphospace.train` does, without a run folder and its listeners."""
    overrides = {"data": SOURCE, "size": str(size), "batch_size": BATCH, "device": "cpu", **EXTRAS.get(name, {})}
    configuration = resolve(name, overrides=overrides)
    s = configuration.training
    device = choose_device(s.device)
    told = Conditioning.for_pack(configuration.condition, pack)
    torch.manual_seed(stream(s.seed, "weights"))
    model = configuration.model.build(pack.shape, None, told)
    to_device(model.networks, device)
    batches = Batches(pack.split("train"), batch_size=BATCH, seed=s.seed, device=device, signed=model.signed)
    engine = Engine(
        model,  # type: ignore[arg-type]
        batches,
        s,
        total_images=10**9,
        precision=choose_precision(s.precision, device),
        ema_halflife_images=model.default_ema_halflife_images,
    )
    model.networks.train()
    return engine


def turn(engine: Engine, steps: int) -> float:
    """Take steps and return the seconds of one."""
    began = time.perf_counter()
    for _ in range(steps):
        engine.step()
    engine.sums.clear()
    return (time.perf_counter() - began) / steps


def counted(engine: Engine) -> float:
    """Return the operations of one step, a mean over as many as it takes until every phase has had its turn."""
    steps = math.lcm(*(phase.every for phases in engine.rounds for phase in phases))
    with Flops() as counter:
        for _ in range(steps):
            engine.step()
    return counter.total / steps


def beside(name: str, size: int, quick: bool) -> dict[str, Any]:
    """Alternate a model with its base."""
    pack = prepared(size)
    names = (name, BASES[name])
    engines = [make_engine(one, size, pack) for one in names]
    flops = [counted(engine) for engine in engines]
    lengths = [1 if quick else max(2, round(SECONDS / turn(engine, 2))) for engine in engines]
    seconds: list[list[float]] = [[], []]
    for _ in range(1 if quick else ALTERNATIONS):
        for side in range(2):
            seconds[side].append(turn(engines[side], lengths[side]))
    step = [statistics.median(side) for side in seconds]
    images = engines[0].images_per_step
    return {
        "images_per_second": images / step[0],
        "flop_per_image": flops[0] / images,
        "ratio": (flops[0] / step[0]) / (flops[1] / step[1]),
        "precision": engines[0].precision,
    }


def alone(name: str, size: int, quick: bool) -> dict[str, Any]:
    """Train a model alone, and say what memory it took."""
    engine = make_engine(name, size, prepared(size))
    turn(engine, 1 if quick else 3)
    return {"peak_mib": peak_mib()}


def main() -> None:
    """Do what the command line says and print the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput_worker", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    for name in ("beside", "alone"):
        task = tasks.add_parser(name)
        task.add_argument("model", choices=BASES)
        task.add_argument("size", type=int)
        task.add_argument("--quick", action="store_true")
    tasks.add_parser("matmul")
    arguments = parser.parse_args()
    keep_freed_blocks()
    if arguments.task == "matmul":
        said = matmul()
    else:
        said = {"beside": beside, "alone": alone}[arguments.task](arguments.model, arguments.size, arguments.quick)
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
