"""Distances between sets: the Frechet trace beside scipy's root of a matrix, and the memory that neighbours take.

The trace tr (S_r S_f)^(1/2) of two covariances of 2,048 features, by `scipy.linalg.sqrtm` of the product as most
implementations take it, and ours by Cholesky and eigenvalues; both in one process, with the same threads. Then
precision and recall of 10,000 and 10,000 images of 512 features, in a process of its own: seconds, and the most memory
it held beyond what it held before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "main"]

FEATURES, IMAGES, WIDTH = 2048, 10_000, 512
QUICK_FEATURES, QUICK_IMAGES = 256, 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="small sets: does it run? The numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the table, and return the exit status."""
    features, images = (QUICK_FEATURES, QUICK_IMAGES) if arguments.quick else (FEATURES, IMAGES)
    trace, neighbours = _side("trace", features), _side("neighbours", images)
    print(f"| Frechet distance, {features:,} features | value | seconds |\n|---|---:|---:|")
    print(f"| scipy.linalg.sqrtm | {trace['theirs']:.9g} | {trace['their_seconds']:.2f} |")
    print(f"| ours | {trace['ours']:.9g} | {trace['our_seconds']:.2f} |")
    ratio = trace["their_seconds"] / trace["our_seconds"]
    print(f"\n{ratio:.1f} times as fast, on {trace['threads']} thread(s)")
    print(
        f"precision and recall of {images:,} x {images:,} x {WIDTH}: {neighbours['seconds']:.1f} s, "
        f"{neighbours['extra_mib']:,.0f} MiB beyond the {neighbours['before_mib']:,.0f} MiB with both sets in memory"
    )
    if arguments.json:
        told = {"trace": trace, "neighbours": neighbours}
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


def _side(task: str, size: int) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.distances", task, str(size)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{task}: {done.stderr.strip()}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def trace(features: int) -> dict[str, Any]:
    """Time both ways to the distance, from the same statistics."""
    import numpy as np
    import scipy.linalg
    import torch

    from morphospace.evaluation.distances import frechet_distance
    from morphospace.evaluation.statistics import statistics_of

    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((features, features)) / features**0.5
    real, fake = (
        statistics_of(rng.standard_normal((4 * features, features)) @ mixing * scale + scale) for scale in (1, 1.2)
    )
    began = time.perf_counter()
    ours = frechet_distance(real=real, fake=fake)
    middle = time.perf_counter()
    a, b = real.covariance.numpy(), fake.covariance.numpy()
    apart = (real.mean - fake.mean).numpy()
    theirs = apart @ apart + np.trace(a) + np.trace(b) - 2 * np.trace(scipy.linalg.sqrtm(a @ b)).real
    ended = time.perf_counter()
    seconds = {"our_seconds": middle - began, "their_seconds": ended - middle}
    return {"ours": ours, "theirs": float(theirs), **seconds, "threads": torch.get_num_threads()}


def neighbours(images: int) -> dict[str, Any]:
    """Measure precision and recall: time, and peak memory before and after."""
    import torch

    from bench.worker import peak_mib
    from morphospace.evaluation.distances import precision_recall

    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(images, WIDTH, generator=generator) for _ in range(2))
    before = peak_mib()
    began = time.perf_counter()
    found = precision_recall(real=real, fake=fake)
    seconds = time.perf_counter() - began
    told = {"precision": found.precision, "recall": found.recall, "seconds": seconds}
    return {**told, "before_mib": before, "extra_mib": peak_mib() - before, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    print(json.dumps({"trace": trace, "neighbours": neighbours}[sys.argv[1]](int(sys.argv[2]))))
