"""Throughput of every model: images/s, peak memory, and FLOP/s beside its base model's.

Each model is trained at its defaults, on drawn faces of 32x32 and 64x64 in colour, beside the model that it is built
on: `vae` for those with an encoder, `dcgan` for the GANs. Both stand in one process and take turns of half a second
each, two steps at least; the ratio is that of the medians. Operations are counted (matrix products and convolutions,
backward pass included), so that a model which must compute more is not called slow for it: what is compared is how
fast it computes. Peak memory is that of a process that trains this model alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.members import OURS
from bench.report import machine
from morphospace.zoo.settings_gan import GANSettings

__all__ = ["BASES", "EXTRAS", "add_arguments", "main"]

BASES = {name: "dcgan" if issubclass(cls, GANSettings) else "vae" for name, cls in OURS.items()}
# What a model cannot do without.
EXTRAS: dict[str, dict[str, Any]] = {
    name: {"condition": "attributes:Smiling,Eyeglasses"} for name, cls in OURS.items() if hasattr(cls, "condition")
}
SIZES = (32, 64)
BATCH = 64
ALTERNATIONS = 7
AIM = 0.85


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="one alternation of a step each: does it run?")
    parser.add_argument("--only", nargs="+", choices=BASES, metavar="MODEL", help=f"of {', '.join(BASES)}")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="PIXELS", help="sides of the images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number measured to FILE as well")


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the table, and return the exit status."""
    rows = []
    quick = ["--quick"] if arguments.quick else []
    products = _worker("matmul")["gflop_per_second"]
    for size in arguments.sizes:
        for name in arguments.only or BASES:
            words = [name, str(size), *quick]
            row = {"model": name, "size": size, **_worker("beside", *words), **_worker("alone", *words)}
            rows.append(row)
            print(f"{name} at {size}: {row['images_per_second']:,.0f} images/s", file=sys.stderr, flush=True)
    here = machine()
    print(
        f"\n{here['cpu']}, {here['cores']} cores; {rows[0]['precision']}; batch {BATCH}; matrix products of 2048x2048: "
    )
    print(", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in products.items()) + "\n")
    print(markdown(rows, products))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": here, "products": products, "rows": rows}, indent=2) + "\n")
    return 0


def markdown(rows: list[dict[str, Any]], products: dict[str, float]) -> str:
    """Return the table."""
    heads = ["model", "size", "images/s", "FLOP per image", "GFLOP/s", "share of matrix products", "FLOP/s of its base"]
    lines = ["| " + " | ".join([*heads, "peak MiB"]) + " |", "|---|" + "---:|" * len(heads)]
    for row in rows:
        rate = row["images_per_second"] * row["flop_per_image"] / 1e9
        base = "" if row["model"] == BASES[row["model"]] else f"{row['ratio']:.2f} ({BASES[row['model']]})"
        cells = [row["model"], f"{row['size']}", f"{row['images_per_second']:,.0f}", _operations(row["flop_per_image"])]
        cells += [f"{rate:,.0f}", f"{rate / products[row['precision']]:.0%}", base, f"{row['peak_mib']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _operations(count: float) -> str:
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _worker(*words: str) -> dict[str, Any]:
    """Run a worker to its end and return the object on its last line."""
    command = [sys.executable, "-m", "bench.throughput_worker", *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: worker {' '.join(words)}: {(done.stderr.strip() or 'nothing').splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
