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

COMMON: dict[str, Any] = {"tower": "mlp", "widths": (128, 128), "latent_dim": 2, "init": "default"}
# What a paper says of its own: RMSprop and clipped weights cannot take steps of a third of what they are clipped at;
# points ask for far steeper critics than images do, hence a weak penalty, as in WGAN-GP's own plane study.
OWN: dict[str, dict[str, Any]] = {
    "wgan": {"lr": 5e-4, "turns": 5},
    "wgan-gp": {"gradient_penalty": 0.1, "betas": (0.5, 0.9), "turns": 5, "critic_lr": None, "penalty_every": 1},
    "r3gan": {
        **{"r1": 0.02, "r2": 0.02, "penalty_by_size": False, "penalty_every": 1},  # a point is no image of a pixel
        **{"lr": 3e-3, "betas": (0.0, 0.99)},
    },
}


@dataclass(frozen=True)
class Course:
    """What is the same for every GAN on one mixture.

    Attributes:
        modes: Of the mixture.
        steps: Updates of the generator.
        settings: Of the optimizer.
    """

    modes: int
    steps: int
    settings: dict[str, Any]


COURSES = {
    # The momentum that DCGAN was published with, under which the plain one collapses.
    "ring": Course(8, 1500, {"lr": 1e-3, "betas": (0.5, 0.999)}),
    # After 1,500 updates samples still lie almost evenly over the grid's square.
    "grid": Course(25, 5000, {"lr": 3e-3, "betas": (0.0, 0.99)}),
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
BATCH = 128
QUICK_STEPS = 100
SEEDS = 3


@dataclass(frozen=True)
class Contestant:
    """A GAN with one remedy on one mixture."""

    gan: str
    remedy: str
    mixture: str
    settings: GANSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--quick", action="store_true", help="1 seed, few steps: does it run? The numbers mean nothing")
    parser.add_argument("--steps", type=int, help="updates of each generator (default: as in COURSES)")
    parser.add_argument("--seeds", type=int, help=f"seeds 0, 1, ... of each (default {SEEDS})")
    parser.add_argument("--gans", nargs="+", choices=GANS, default=GANS, metavar="GAN", help=f"of {', '.join(GANS)}")
    parser.add_argument(
        "--remedies", nargs="+", choices=REMEDIES, default=tuple(REMEDIES), metavar="REMEDY", help=", ".join(REMEDIES)
    )
    parser.add_argument(
        "--mixtures", nargs="+", choices=COURSES, default=tuple(COURSES), metavar="NAME", help="ring, grid"
    )
    parser.add_argument("--known", action="store_true", help="train nothing: the table of what is in --json")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, of one thread each")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="a line for each run; runs found there are not run again"
    )


def main(arguments: argparse.Namespace) -> int:
    """Measure, print the table, and return the exit status."""
    steps = arguments.steps or (QUICK_STEPS if arguments.quick else 0)
    seeds = arguments.seeds or (1 if arguments.quick else SEEDS)
    contestants, refused = entered(arguments.gans, arguments.remedies, arguments.mixtures)
    runs = {
        (contestant, seed): (contestant.settings, contestant.mixture, seed, steps or COURSES[contestant.mixture].steps)
        for contestant, seed in itertools.product(contestants, range(seeds))
    }
    began = time.perf_counter()
    known = read(arguments.json)
    outcomes = {run: known[key(words)] for run, words in runs.items() if key(words) in known}
    if not arguments.known:
        left = {run: words for run, words in runs.items() if run not in outcomes}
        outcomes |= measured(left, arguments.jobs, arguments.json)
    print(markdown(contestants, outcomes, seeds, refused))
    minutes = (time.perf_counter() - began) / 60
    print(f"\nbatch {BATCH}, {seeds} seed(s), {arguments.jobs} processes: {minutes:.1f} min")
    return 0


def entered(
    gans: tuple[str, ...], remedies: tuple[str, ...], mixtures: tuple[str, ...]
) -> tuple[list[Contestant], dict[str, list[str]]]:
    """Return every GAN with every remedy that its critic allows, and those refused by reason."""
    contestants: list[Contestant] = []
    refused: dict[str, list[str]] = {}
    usual = GANSettings()
    for gan, mixture in itertools.product(gans, mixtures):
        common = {**COMMON, **COURSES[mixture].settings, **OWN.get(gan, {})}
        plain: Any = ZOO[gan](**common)
        # A conditional GAN is told its mode and shows what that is worth; what a remedy adds to it is another question.
        for remedy in ("none",) if gan == "cgan" else remedies:
            changes = REMEDIES[remedy]
            if changes and all(getattr(plain, name) != getattr(usual, name) for name in changes):
                continue  # it has it anyway
            try:
                settings: Any = ZOO[gan](**{**common, **changes})
            except SettingError as error:
                names = refused.setdefault(str(error), [])
                names += [f"{gan} with {remedy}"] if f"{gan} with {remedy}" not in names else []
                continue
            contestants.append(Contestant(gan, remedy, mixture, settings))
    return contestants, refused


def key(words: tuple[GANSettings, str, int, int]) -> str:
    """Return what a run is known by."""
    return "; ".join(map(str, words))


def read(file: Path | None) -> dict[str, Outcome]:
    """Return the outcomes in a file, by their keys."""
    from bench.mixtures import Outcome

    if file is None or not file.is_file():
        return {}
    return {row["key"]: Outcome(**row["outcome"]) for row in map(json.loads, file.read_text().splitlines())}


def measured(
    runs: dict[tuple[Contestant, int], tuple[GANSettings, str, int, int]], jobs: int, file: Path | None
) -> dict[tuple[Contestant, int], Outcome]:
    """Train, several at once; each outcome goes into the file when it is there."""
    from bench.mixtures import play

    outcomes: dict[tuple[Contestant, int], Outcome] = {}
    # Two processes with two threads each run several times slower than with one each.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(play, *words, BATCH): (run, words) for run, words in runs.items()}
        for done, future in enumerate(as_completed(waiting), 1):
            run, words = waiting[future]
            outcome = outcomes[run] = future.result()
            who = {"gan": run[0].gan, "remedy": run[0].remedy, "mixture": run[0].mixture, "seed": run[1]}
            if file is not None:
                with file.open("a") as lines:
                    lines.write(json.dumps({**who, "key": key(words), "outcome": asdict(outcome)}) + "\n")
            found = f"{outcome.modes} modes, {outcome.good:.0%} good, {outcome.seconds:.0f} s"
            said = f"{', '.join(map(str, who.values()))}: {found} {outcome.failed}"
            print(f"[{done}/{len(waiting)}] {said}", file=sys.stderr, flush=True)
    return outcomes


def markdown(
    contestants: list[Contestant],
    outcomes: dict[tuple[Contestant, int], Outcome],
    seeds: int,
    refused: dict[str, list[str]],
) -> str:
    """Return the table: mean over seeds, with the least and the most where they differ."""
    mixtures = list(dict.fromkeys(contestant.mixture for contestant in contestants))
    heads = [f"{name}: modes of {COURSES[name].modes} | {name}: near | {name}: good" for name in mixtures]
    lines = [f"| GAN | remedy | {' | '.join(heads)} |", "|---|---|" + "---:|---:|---:|" * len(mixtures)]
    for gan, remedy in dict.fromkeys((contestant.gan, contestant.remedy) for contestant in contestants):
        cells = []
        for mixture in mixtures:
            here = [c for c in contestants if (c.gan, c.remedy, c.mixture) == (gan, remedy, mixture)]
            runs = [outcomes[c, seed] for c in here for seed in range(seeds) if (c, seed) in outcomes]
            cells += _cells(runs) if runs else ["", "", ""]
        lines.append(f"| {gan} | {remedy} | {' | '.join(cells)} |")
    if refused:
        lines += ["", "Not there, with the reason that the library gives:", ""]
        lines += [f"- {', '.join(names)}: {reason}" for reason, names in refused.items()]
    return "\n".join(lines)


def _cells(runs: list[Outcome]) -> list[str]:
    """Return modes, modes near and the share of good samples."""
    cells = [_spread([run.modes for run in runs], "{:.1f}", "{:.0f}")]
    cells.append(_spread([run.near for run in runs], "{:.1f}", "{:.0f}"))
    cells.append(_spread([100 * run.good for run in runs], "{:.0f} %", "{:.0f}"))
    if failed := sum(bool(run.failed) for run in runs):
        cells[-1] += f" ({failed} stopped)"
    return cells


def _spread(values: list[float] | list[int], mean: str, end: str) -> str:
    """Return a mean, with its range in brackets where there is one."""
    text, low, high = mean.format(statistics.fmean(values)), end.format(min(values)), end.format(max(values))
    return text if low == high else f"{text} ({low}-{high})"
