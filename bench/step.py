"""Where the time of a training step goes, beside the least that its work takes on this machine.

For each model of the speed measurement: products, bytes moved and calls of one step are counted. The floor takes the
products at the rate of large matrix products, the bytes of all other operations at the rate of a copy, and each call at
the price of the smallest one; all three are measured here. A profile says where the step's own time goes. Everything is
processor time of one process, so that other programs change little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.cases import CASES
from bench.report import machine

__all__ = ["GROUPS", "add_arguments", "main", "markdown"]

GROUPS = ("products", "norms and activations", "copies and casts", "optimizer", "the rest")
NAMES = [name for name, case in CASES.items() if case.input != "files-64"]  # which differ in reading only


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="one step each: does it run? The numbers mean little")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="MODEL", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of training")
    parser.add_argument("--threads", type=int, default=1, help="of each process (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and return the exit status."""
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}

    def worker(*words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout.strip().splitlines()[-1])

    rows = []
    with tempfile.TemporaryDirectory(prefix="morphospace-bench-") as folder:
        names = arguments.only or NAMES
        packs = sorted({CASES[name].pack for name in names})
        worker("bench.worker", "images", folder, *packs, "--quick")
        for name in names:
            quick = ["--quick"] if arguments.quick else []
            rows.append(worker("bench.step_worker", name, folder, arguments.precision, *quick))
            print(f"{name}: {rows[-1]['step_ms']:,.1f} ms a step", file=sys.stderr, flush=True)
    here = machine()
    print(f"\n{here['cpu']}, threads: {arguments.threads}\n\n{markdown(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": here, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return both tables: the floor beside the step, and where the step's time goes."""
    heads = ["model", "ms a step", "images/s", "products", "memory", "calls", "floor, ms", "floor / step"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        parts = [row["floor_ms"][key] for key in ("products", "memory", "calls")]
        cells = [f"{row['model']}, {row['precision']}", f"{row['step_ms']:,.1f}", f"{row['images_per_second']:,.0f}"]
        cells += [f"{part:,.2f}" for part in parts]
        cells += [f"{sum(parts):,.1f}", f"{sum(parts) / row['step_ms']:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    heads = ["model", *GROUPS, "GFLOP", "MB beside products", "calls", "GFLOP/s of products", "GB/s", "us a call"]
    lines += ["", f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        cells = [row["model"], *(f"{row['shares'][group]:.0%}" for group in GROUPS)]
        cells += [f"{row['flop'] / 1e9:,.2f}", f"{row['bytes'] / 1e6:,.0f}", f"{row['calls']:,}"]
        cells += [f"{row['product_rate'] / 1e9:,.0f}", f"{row['copy_rate'] / 1e9:,.1f}", f"{row['call_us']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
