"""Mode collapse: modes found and share of good samples, every GAN with and without each remedy, over several seeds.

Two mixtures of Gaussians in the plane, a ring of 8 and a grid of 25 (see `bench.mixtures`). Of 2,500 samples, one is
good within three standard deviations of a mode; a mode is found if it gets a tenth of its fair share of them, good
ones only, and near if it is the nearest to so many, good or not. Every GAN has the same towers, optimizer (the
clipped one apart: RMSprop, as published) and number of generator updates, and its own loss, limits and turns. A
remedy that a critic does not allow is listed below the table with the library's own reason.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphospace.errors import SettingError
from morphospace.zoo.settings import ZOO
from morphospace.zoo.settings_gan import GANSettings

if TYPE_CHECKING:
    from bench.mixtures import Outcome

__all__ = ["add_arguments", "main"]

# The same for every GAN: the momentum that DCGAN was published with, under which the plain one collapses here. With
# betas (0, 0.99) and a rate of 3e-3 it does not: it finds all of the ring.
COMMON: dict[str, Any] = {
    "tower": "mlp",
    "widths": (128, 128),
    "latent_dim": 2,
    "init": "default",
    "lr": 1e-3,
    "betas": (0.5, 0.999),
}
# What a paper says of its own: RMSprop and clipped weights cannot take steps of a third of what they are clipped at;
# points ask for far steeper critics than images do, hence a weak penalty, as in WGAN-GP's own plane study.
OWN: dict[str, dict[str, Any]] = {
    "wgan": {"lr": 5e-4},
    "wgan-gp": {"gradient_penalty": 0.1, "betas": (0.5, 0.9)},
    "r3gan": {"r1": 0.02, "r2": 0.02, "lr": 3e-3, "betas": (0.0, 0.99)},
}
GANS = ("dcgan", "wgan", "wgan-gp", "sngan", "lsgan", "r3gan", "cgan")
REMEDIES: dict[str, dict[str, Any]] = {
    "none": {},
    "minibatch discrimination": {"minibatch_discrimination": 8},
    "feature matching": {"feature_matching": 1.0},
    "replay": {"replay": 0.5},
    "unrolled": {"unrolled": 4},
    "packing": {"packing": 2},
    "R1 + R2": {"r1": 0.02, "r2": 0.02},
    "spectral norm": {"spectral_norm": True},
}
MODES = {"ring": 8, "grid": 25}
BATCH = 128
STEPS, QUICK_STEPS = 1500, 100
SEEDS = 3


@dataclass(frozen=True)
class Contestant:
    """A GAN with one remedy."""

    gan: str
    remedy: str
    settings: GANSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="1 seed, few steps: does it run? The numbers mean nothing")
    parser.add_argument("--steps", type=int, help=f"updates of each generator (default {STEPS})")
    parser.add_argument("--seeds", type=int, help=f"seeds 0, 1, ... of each (default {SEEDS})")
    parser.add_argument("--gans", nargs="+", choices=GANS, default=GANS, metavar="GAN", help=f"of {', '.join(GANS)}")
    parser.add_argument(
        "--remedies", nargs="+", choices=REMEDIES, default=tuple(REMEDIES), metavar="REMEDY", help=", ".join(REMEDIES)
    )
    parser.add_argument("--mixtures", nargs="+", choices=MODES, default=tuple(MODES), metavar="NAME", help="ring, grid")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, of one thread each")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="a line for each run; runs found there are not run again"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the table, and return the exit status."""
    steps = arguments.steps or (QUICK_STEPS if arguments.quick else STEPS)
    seeds = arguments.seeds or (1 if arguments.quick else SEEDS)
    contestants, refused = entered(arguments.gans, arguments.remedies)
    began = time.perf_counter()
    outcomes = measured(contestants, arguments.mixtures, seeds, steps, arguments.jobs, arguments.json)
    print(markdown(contestants, outcomes, arguments.mixtures, refused))
    minutes = (time.perf_counter() - began) / 60
    print(
        f"\n{steps} generator updates of batch {BATCH}, {seeds} seed(s), {arguments.jobs} processes: {minutes:.1f} min"
    )
    return 0


def entered(gans: tuple[str, ...], remedies: tuple[str, ...]) -> tuple[list[Contestant], dict[str, list[str]]]:
    """Return every GAN with every remedy that its critic allows, and those refused by reason."""
    contestants: list[Contestant] = []
    refused: dict[str, list[str]] = {}
    usual = GANSettings()
    for gan in gans:
        common = {**COMMON, **OWN.get(gan, {})}
        plain: Any = ZOO[gan](**common)
        # A conditional GAN is told its mode and shows what that is worth; what a remedy adds to it is another question.
        for remedy in ("none",) if gan == "cgan" else remedies:
            changes = REMEDIES[remedy]
            if changes and all(getattr(plain, name) != getattr(usual, name) for name in changes):
                continue  # it has it anyway
            try:
                settings: Any = ZOO[gan](**{**common, **changes})
            except SettingError as error:
                refused.setdefault(str(error), []).append(f"{gan} with {remedy}")
                continue
            contestants.append(Contestant(gan, remedy, settings))
    return contestants, refused


def measured(
    contestants: list[Contestant], mixtures: tuple[str, ...], seeds: int, steps: int, jobs: int, file: Path | None
) -> dict[tuple[Contestant, str], list[Outcome]]:
    """Train every contestant on every mixture with every seed, several at once, but for those that a file knows."""
    from bench.mixtures import Outcome, play

    known = {}
    if file is not None and file.is_file():
        known = {tuple(run["key"]): Outcome(**run["outcome"]) for run in map(json.loads, file.open())}
    outcomes: dict[tuple[Contestant, str], list[Outcome]] = {}
    # Two processes with two threads each run several times slower than with one each.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {}
        for contestant, mixture, seed in itertools.product(contestants, mixtures, range(seeds)):
            key = (str(contestant.settings), mixture, seed, steps, BATCH)
            if key in known:
                outcomes.setdefault((contestant, mixture), []).append(known[key])
            else:
                future = pool.submit(play, contestant.settings, mixture, seed, steps, BATCH)
                waiting[future] = contestant, mixture, key
        for done, future in enumerate(as_completed(waiting), 1):
            contestant, mixture, key = waiting[future]
            outcome = future.result()
            outcomes.setdefault((contestant, mixture), []).append(outcome)
            if file is not None:
                with file.open("a") as lines:
                    row = {"gan": contestant.gan, "remedy": contestant.remedy, "key": key, "outcome": asdict(outcome)}
                    lines.write(json.dumps(row) + "\n")
            found = f"{outcome.modes} of {MODES[mixture]}, {outcome.good:.0%} good, {outcome.seconds:.0f} s"
            said = f"{contestant.gan}, {contestant.remedy}, {mixture}: {found} {outcome.failed}"
            print(f"[{done}/{len(waiting)}] {said}", file=sys.stderr, flush=True)
    return outcomes


def markdown(
    contestants: list[Contestant],
    outcomes: dict[tuple[Contestant, str], list[Outcome]],
    mixtures: tuple[str, ...],
    refused: dict[str, list[str]],
) -> str:
    """Return the table: mean over seeds, with the least and the most where they differ."""
    heads = [f"{name}: modes of {MODES[name]} | {name}: near | {name}: good" for name in mixtures]
    lines = [f"| GAN | remedy | {' | '.join(heads)} |", "|---|---|" + "---:|---:|---:|" * len(mixtures)]
    for contestant in contestants:
        cells = []
        for mixture in mixtures:
            runs = outcomes[contestant, mixture]
            cells.append(_spread([run.modes for run in runs], "{:.1f}", "{:.0f}"))
            cells.append(_spread([run.near for run in runs], "{:.1f}", "{:.0f}"))
            cells.append(_spread([100 * run.good for run in runs], "{:.0f} %", "{:.0f}"))
            if failed := sum(bool(run.failed) for run in runs):
                cells[-1] += f" ({failed} stopped)"
        lines.append(f"| {contestant.gan} | {contestant.remedy} | {' | '.join(cells)} |")
    if refused:
        lines += ["", "Not there, with the reason that the library gives:", ""]
        lines += [f"- {', '.join(names)}: {reason}" for reason, names in refused.items()]
    return "\n".join(lines)


def _spread(values: list[float] | list[int], mean: str, end: str) -> str:
    """Return a mean, with its range in brackets where there is one."""
    text, low, high = mean.format(statistics.fmean(values)), end.format(min(values)), end.format(max(values))
    return text if low == high else f"{text} ({low}-{high})"
