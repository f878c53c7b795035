"""Real numbers on real images: every model of a table trained for so many minutes of one core, judged, in Markdown.

    python -m bench tables likelihood   MNIST: -log p(x) by 5,000 importance samples, a VAE's and IWAE's with k = 50
    python -m bench tables distances    Fashion-MNIST: FD, KID, precision, recall of every family, in the same features
    python -m bench tables factors      drawn faces, dSprites: disentanglement of beta 1, beta 4, factor-vae; 3 seeds
    python -m bench tables mig          dSprites: mutual information gap of the recipe dsprites-beta-tcvae; 10 seeds
    python -m bench tables stacked      Stacked MNIST: modes of 1,000 that GANs find

Runs stay in --out: the same command goes on where it stopped, and with a larger --minutes trains them further. Minutes
are of the processor, each run has one thread. The data are looked for as by `morpho train`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.members import RANKED

__all__ = ["TABLES", "add_arguments", "main"]

MORPHO = str(Path(sys.executable).with_name("morpho"))
FOREVER = ["--epochs", "100000"]
PUBLISHED = {
    "r3gan": ["--tower", "residual", "--penalty-every", "1", "--lr", "2e-4"],
    "wgan": ["--turns", "5", "--lr", "5e-5"],
    "wgan-gp": [
        *["--turns", "5", "--penalty-every", "1", "--lr", "1e-4", "--critic-lr", "1e-4"],
        *["--critic-norm", "none", "--init", "dcgan"],
    ],
}


@dataclass(frozen=True)
class Table:
    """What to train, and how to judge it.

    Attributes:
        members: Words for `morpho train`, by the name of the row.
        metrics: What `morpho evaluate` is to measure.
        n: Of how many samples or images.
        columns: Beginnings of the numbers' names, one a column.
        seeds: How many runs of each.
        minutes: Of the processor, for each run.
    """

    members: dict[str, list[str]]
    metrics: str
    n: int
    columns: tuple[str, ...]
    seeds: int = 1
    minutes: float = 20


def _iwae(samples: int, epochs: int) -> list[str]:
    # The published network, steps and rate those of a shorter training: larger batches, the cosine from twice the rate.
    # Its end is meant to lie within 45 minutes of one core.
    short = ["--batch-size", "128", "--lr", "0.002", "--epochs", str(epochs)]
    return ["--recipe", f"mnist-iwae-k{samples}", *short]


def _vae(prior: str, epochs: int) -> list[str]:
    # The published network and data. What differs is what was found to learn faster.
    network = ["--data", "mnist", "--binarise", "dynamic", "--valid", "0", "--tower", "mlp", "--widths", "200,200"]
    network += ["--activation", "tanh", "--latent-dim", "50", "--likelihood", "bernoulli", "--prior", prior]
    fast = ["--kl", "path", "--init", "glorot", "--lr", "0.004", "--batch-size", "128", "--schedule", "cosine"]
    return ["vae", *network, *fast, "--ema-halflife-images", "0", "--epochs", str(epochs)]


def _factors(data: str) -> dict[str, list[str]]:
    # Fully connected, as the first beta-VAE on dSprites (Higgins et al. 2017): minutes a run, of which there are 18.
    shared = ["--data", data, "--size", "32", "--tower", "mlp", "--latent-dim", "10", "--epochs", "20"]
    shared += ["--schedule", "cosine"]
    return {
        f"{data}: beta 1": ["vae", *shared],
        f"{data}: beta 4": ["vae", *shared, "--beta", "4"],
        f"{data}: factor-vae": ["factor-vae", *shared],
    }


TABLES: dict[str, Table] = {
    "likelihood": Table(
        {
            "vae, k = 1": _iwae(1, 300),
            "iwae, k = 50": _iwae(50, 24),
            "vae, N(0, I)": _vae("normal", 300),
            "vae, flow prior": _vae("flow", 280),
        },
        "elbo,iwae",
        10_000,
        ("ELBO", "IWAE-5000"),
        minutes=45,
    ),
    "distances": Table(
        {name: [name, "--data", "fashion-mnist", *FOREVER] for name in RANKED}
        | {
            f"{name}, as published": [name, "--data", "fashion-mnist", *FOREVER, *words]
            for name, words in PUBLISHED.items()
        },
        "fd,kid,pr",
        5000,
        ("FD", "KID", "precision", "recall"),
    ),
    "factors": Table(
        {**_factors("toyfaces:20000"), **_factors("dsprites:subset")},
        "disentanglement",
        10_000,
        ("beta-VAE", "FactorVAE", "MIG, binned", "SAP", "DCI disentanglement"),
        seeds=3,
    ),
    "mig": Table(
        {"dsprites: beta-tcvae": ["--recipe", "dsprites-beta-tcvae"]},
        "disentanglement",
        10_000,
        ("MIG, binned", "MIG, posteriors"),
        seeds=10,
    ),
    "stacked": Table(
        {
            name: [*words, "--data", "stacked-mnist", *FOREVER]
            for name, words in {
                "dcgan": ["dcgan"],
                "dcgan, packed by two": ["dcgan", "--packing", "2"],
                "wgan-gp": ["wgan-gp"],
                "r3gan": ["r3gan"],
            }.items()
        },
        "modes",
        26_000,
        ("modes[", "modes, KL"),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="which; all when none is named")
    parser.add_argument("--minutes", type=float, help="of the processor, for each run (default 20; likelihood 45)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once, of one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/tables"), help="the runs' folder (default runs/tables)")
    parser.add_argument("--only", help="rows whose name begins so")
    parser.add_argument("--quick", action="store_true", help="256 images each: does it run? The numbers mean nothing")


def main(arguments: argparse.Namespace) -> int:
    """Train, judge and print."""
    short = ["--images", "256"] if arguments.quick else []
    for name in arguments.tables or TABLES:
        table = TABLES[name]
        minutes = table.minutes if arguments.minutes is None else arguments.minutes
        rows = {row: words for row, words in table.members.items() if row.startswith(arguments.only or "")}
        runs = {
            (row, seed): arguments.out / name / f"{_file(row)}-seed{seed}"
            for row in rows
            for seed in range(1 if arguments.quick else table.seeds)
        }
        judge = ["--metrics", table.metrics, "--n", str(64 if arguments.quick else table.n)]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            jobs = {
                key: pool.submit(carried_out, [*rows[key[0]], *short, "--seed", str(key[1])], path, minutes, judge)
                for key, path in runs.items()
            }
            found = {key: job.result() for key, job in jobs.items()}
        print(f"\n`morpho evaluate {' '.join(judge)}`, {minutes:g} minutes of one core each at most\n")
        print(markdown(table, list(rows), found), flush=True)
    return 0


def carried_out(words: list[str], path: Path, minutes: float, judge: list[str]) -> dict[str, Any] | str:
    """Train a run until its minutes are over, and judge it; what went wrong in words."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.log").open("a") as log:
        left = 60 * minutes - spent(path)
        if left > 0:
            command = [MORPHO, "train", *words, "--device", "cpu", "--out", str(path)]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            if stopped_in_time(process, left) not in (0, 130):
                return f"training failed; see {path}.log"
        command = [MORPHO, "evaluate", str(path), *judge, "--device", "cpu", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    if done.returncode:
        return f"not judged; see {path}.log"
    last = lines(path)[-1]
    print(f"{path}: {last['images']:,} images", file=sys.stderr, flush=True)
    return {"results": json.loads(done.stdout)["results"], "images": last["images"], "minutes": spent(path) / 60}


def stopped_in_time(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Interrupt a process, which then saves, once it has had so many seconds of the processor; its status."""
    asked = False
    while process.poll() is None:
        time.sleep(0.2)
        if not asked and used(process.pid) > seconds:
            process.send_signal(signal.SIGINT)
            asked = True
    return process.wait()


def used(pid: int) -> float:
    """Return the seconds of the processor that a process has had; those of the clock where nobody tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return time.monotonic() - _BEGAN.setdefault(pid, time.monotonic())
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


_BEGAN: dict[int, float] = {}


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log."""
    file = path / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def spent(path: Path) -> float:
    """Return how many seconds a run's steps have taken."""
    return max((float(line.get("seconds", 0)) for line in lines(path)), default=0.0)


def markdown(table: Table, rows: list[str], found: dict[tuple[str, int], dict[str, Any] | str]) -> str:
    """Return the table; of several seeds the mean, with least and most."""
    text = [f"| run | images | minutes of the clock | {' | '.join(c.strip('[') for c in table.columns)} |"]
    text.append("|---|---:|---:|" + "---:|" * len(table.columns))
    for row in rows:
        seeds = [one for (name, _), one in found.items() if name == row]
        good = [one for one in seeds if isinstance(one, dict)]
        if not good:
            text.append(f"| {row} | {next(str(one) for one in seeds)} |")
            continue
        images, minutes = (statistics.fmean(one[key] for one in good) for key in ("images", "minutes"))
        cells = [cell([first(one["results"], column) for one in good]) for column in table.columns]
        text.append(f"| {row} | {images:,.0f} | {minutes:.1f} | {' | '.join(cells)} |")
    return "\n".join(text)


def first(results: list[dict[str, Any]], column: str) -> dict[str, Any] | None:
    """Return the first result whose name begins as a column's."""
    return next((result for result in results if result["name"].startswith(column)), None)


def cell(results: list[dict[str, Any] | None]) -> str:
    """Return a number with its interval, or the mean of several with least and most."""
    there = [result for result in results if result is not None]
    values = [float(result["value"]) for result in there]
    if not values:
        return ""
    if len(values) > 1:
        return f"{statistics.fmean(values):.4g} ({min(values):.4g} to {max(values):.4g})"
    low, high = there[0]["low"], there[0]["high"]
    return f"{values[0]:.4g}" + (f" ({low:.4g} to {high:.4g})" if low is not None else "")


def _file(row: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in row)
