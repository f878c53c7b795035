"""Training speed: the published loop of a model beside ours, images/s.

Both sides have the same architecture, batch and images, and the same number of timed steps after a warm-up. Each
run of a side is a process of its own; sides alternate (published, ours, published, ours, ...), and the ratio is
that of the medians. Real images are taken from MORPHOSPACE_DATA where it is set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cases import CASES, Case
from bench.report import Measured, Report, machine

__all__ = ["add_arguments", "main"]


class WorkerError(Exception):
    """A side that did not end well."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="2 pairs, fewer steps and images: minutes, and rougher")
    parser.add_argument("--pairs", type=_positive, help="runs of each side (default 5; 2 with --quick)")
    parser.add_argument("--steps", type=_positive, help="timed steps of every model (default: the model's own)")
    parser.add_argument("--warmup", type=_positive, help="steps before the clock starts (default: the model's own)")
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="MODEL", help=f"of {', '.join(CASES)}")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="ours; the published side is always fp32",
    )
    parser.add_argument(
        "--loader-workers",
        type=_natural,
        default=0,
        help="DataLoader workers of the published side (default 0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status."""
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        print(f"error: --json {arguments.json}: its folder does not exist; make it first", file=sys.stderr)
        return 2
    try:
        report = measure(arguments)
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.markdown())
    if arguments.json:
        arguments.json.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if different := report.different():
        print(f"error: {', '.join(different)}: the sides differ in their number of parameters", file=sys.stderr)
        return 1
    return 0


def measure(arguments: argparse.Namespace) -> Report:
    """Run every pair of every case."""
    pairs = arguments.pairs or (2 if arguments.quick else 5)
    cases = [_sized(CASES[name], arguments) for name in arguments.only or CASES]
    with tempfile.TemporaryDirectory(prefix="morphospace-bench-") as name:
        folder = Path(name)
        inputs = sorted({name for case in cases for name in (case.input, case.pack)})
        _say(f"making images: {', '.join(inputs)}")
        quick = ["--quick"] if arguments.quick else []
        data = _worker("images", str(folder), *inputs, *quick)["images"]
        products, measured = [_worker("matmul")], []
        for case in cases:
            measured.append(_measure_case(case, folder, pairs, arguments))
            products.append(_worker("matmul"))
    return Report(machine(), data, products, measured, arguments.loader_workers)


def _measure_case(case: Case, folder: Path, pairs: int, arguments: argparse.Namespace) -> Measured:
    common = [case.name, str(folder), f"--steps={case.steps}", f"--warmup={case.warmup}"]
    published, ours = [], []
    precision = f"--precision={arguments.precision}"
    for pair in range(pairs):
        published.append(_worker("published", *common, f"--loader-workers={arguments.loader_workers}"))
        ours.append(_worker("ours", *common, precision))
        rates = [side[-1]["images_per_second"] for side in (published, ours)]
        _say(f"{case.name}, pair {pair + 1} of {pairs}: {rates[0]:,.1f} and {rates[1]:,.1f} images/s")
    flop = _worker("flop", case.name, str(folder), precision)["flop_per_image"]
    return Measured(case, published, ours, flop)


def _sized(case: Case, arguments: argparse.Namespace) -> Case:
    """Return the case with the steps asked for."""
    steps = arguments.steps or (case.quick_steps if arguments.quick else case.steps)
    return replace(case, steps=steps, warmup=arguments.warmup or case.warmup)


def _worker(*words: str) -> dict[str, Any]:
    """Run a worker to its end and return what it printed.

    Raises:
        WorkerError: It failed; with the end of what it said.
    """
    command = [sys.executable, "-m", "bench.worker", *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or "nothing").splitlines()[-20:]
        raise WorkerError(f"worker {' '.join(words[:2])}: exit status {done.returncode}, it said\n" + "\n".join(said))
    return json.loads(done.stdout.strip().splitlines()[-1])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least 1")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least 0")
    return int(text)
