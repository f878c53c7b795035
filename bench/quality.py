"""Time to quality: Frechet distance over minutes of training, published loops beside ours.

    python -m bench quality                           all of it: about an hour of one core for one seed
    python -m bench quality --only gan --seeds 3      GANs only, three seeds
    python -m bench quality --pythae PYTHON           pythae too: PYTHON is a Python that has it

GANs: the loop of PyTorch's DCGAN tutorial, our engine with the tutorial's networks and settings, and our `dcgan` at
its defaults. VAEs: a published MLP, pythae's MLP, our engine with the published MLP, and our `vae` at its defaults. All
of them train on the same images, each in a process of its own, with one thread. They take turns: each trains up to the
next mark, then the next one does. The clock is the processor time of the process (`--wall`: the time on the wall) and
counts training steps only. At each mark it stops while the process draws samples. All samples are judged with the same
features.

Images are Fashion-MNIST at 32x32 where MORPHOSPACE_DATA has it, else the digits that come with the library. Results
are added to a file as they come; run the command again, and it trains what is not complete there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import machine

__all__ = ["CONTESTANTS", "Contestant", "add_arguments", "main"]

ROOT = Path(__file__).parents[1]
SIZE = 32
MARKS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8)  # minutes
SHOWN = (0.5, 1, 2, 4, 8)  # of them, in the table
SAMPLES = 5000
DRY = "DRY RUN: one step to a mark, few samples. Nothing was measured."


@dataclass(frozen=True)
class Contestant:
    """Something that trains a model.

    Attributes:
        name: What tables call it, and what the worker is asked for.
        group: `gan` or `vae`.
        ours: Whether our engine trains it.
        about: Networks and settings, in words.
        model: Ours: the model, or `recipe:NAME`.
        settings: Ours: what differs from its defaults.
    """

    name: str
    group: str
    ours: bool
    about: str
    model: str = ""
    settings: tuple[tuple[str, Any], ...] = ()


TUTORIAL = (
    ("latent_dim", 100),
    ("widths", (64, 128, 256)),
    ("stem", "conv"),
    ("share_fakes", True),
    ("batch_size", 128),
    ("lr", 2e-4),
    ("ema_halflife_images", 0),
)
_EVERY = (
    Contestant("tutorial", "gan", False, "the loop of PyTorch's DCGAN tutorial, its networks without the 64x64 layer"),
    Contestant(
        "ours, tutorial's networks", "gan", True, "the same networks, batch and rate in our engine", "dcgan", TUTORIAL
    ),
    Contestant("ours, dcgan", "gan", True, "`morpho train dcgan` at its defaults", "dcgan"),
    Contestant("published", "vae", False, "the loop of the lesson's MLP VAE (400 units, 20 latent dimensions)"),
    Contestant("pythae", "vae", False, "pythae's trainer and its MLP (512 units), 20 latent dimensions"),
    Contestant(
        "ours, published MLP", "vae", True, "the published MLP, batch and rate in our engine", "recipe:mnist-vae"
    ),
    Contestant("ours, vae", "vae", True, "`morpho train vae` at its defaults, a convolutional network", "vae"),
)
CONTESTANTS: dict[str, Contestant] = {one.name: one for one in _EVERY}
RIVALS = {"gan": "tutorial", "vae": "published"}
MINUTES = {"gan": 8.0, "vae": 4.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--only", nargs="+", choices=[*RIVALS, *CONTESTANTS], metavar="NAME", help="gan, vae, or some")
    parser.add_argument("--minutes", type=float, help="of training for each run (default: GANs 8, VAEs 4)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0, 1, ... of each (default 1)")
    parser.add_argument("--data", help="images to train on (default: fashion-mnist where it is, else digits)")
    parser.add_argument("--target", type=float, default=30.0, help="FD whose time the table shows (default 30)")
    parser.add_argument("--wall", action="store_true", help="count time on the wall, not of the processor")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process (default 1)")
    parser.add_argument(
        "--pythae",
        metavar="PYTHON",
        default=os.environ.get("MORPHOSPACE_PYTHAE"),
        help="a Python that has pythae 0.1.2 (default: MORPHOSPACE_PYTHAE, or this one if it has it)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("quality-results"), metavar="FOLDER", help="results, plot and samples"
    )
    parser.add_argument("--known", action="store_true", help="train nothing: table and plot of what is there")
    parser.add_argument("--dry", action="store_true", help="seconds: does it run? It measures nothing")


def main(arguments: argparse.Namespace) -> int:
    """Train what is missing, print the tables, draw the plot; 1 if something failed."""
    os.environ.update({name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")})
    print(f"{DRY}\n" if arguments.dry else "", end="", flush=True)
    results = Results(arguments, data_for(arguments))
    failed = [] if arguments.known else train(arguments, results)
    print("\n" + results.markdown(), flush=True)
    if not arguments.dry and results.rows:
        results.draw()
        print(f"\n{results.file}, {results.plot}, {results.picture}")
    for name, error in failed:
        print(f"error: {name}: {error}", file=sys.stderr)
    print(f"{DRY}\n" if arguments.dry else "", end="", flush=True)
    return 1 if failed else 0


def data_for(arguments: argparse.Namespace) -> str:
    """Return the name of the images: those asked for, or the best that are here."""
    from morphospace.data.prepare import data_list

    if arguments.data or arguments.dry:
        return arguments.data or "digits"
    here = any(info.name == "fashion-mnist" and info.here for info in data_list())
    return "fashion-mnist" if here else "digits"


def chosen(arguments: argparse.Namespace) -> list[Contestant]:
    """Return the contestants that were asked for."""
    wanted = arguments.only or list(RIVALS)
    return [one for one in CONTESTANTS.values() if one.name in wanted or one.group in wanted]


def marks_of(arguments: argparse.Namespace, group: str) -> tuple[float, ...]:
    """Return the minutes at which a group is judged."""
    if arguments.dry:
        return (0.0, 0.0)
    most = arguments.minutes or MINUTES[group]
    return tuple(sorted({mark for mark in MARKS if mark < most} | {most}))


def command_of(contestant: Contestant, python: str, words: Sequence[str]) -> list[str]:
    """Return what starts the process that trains a contestant."""
    return [python, "-m", "bench.quality_worker", contestant.name, *words]


# -- training ----------------------------------------------------------------------------------------------------


class Worker:
    """A process that trains one contestant, up to a mark whenever it is asked.

    Args:
        contestant: Which.
        python: The interpreter that runs it.
        words: The worker's arguments.
        log: Where its errors go.
    """

    def __init__(self, contestant: Contestant, python: str, words: Sequence[str], log: Path) -> None:
        self.contestant, self.log = contestant, log
        command = command_of(contestant, python, words)
        with log.open("w") as errors:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors, text=True)

    def reach(self, minutes: float) -> dict[str, Any]:
        """Let it train until it has had so many minutes, and return what it says."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(f"{minutes}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            said = self.log.read_text().strip().splitlines() or ["it said nothing"]
            return {"error": f"ended with status {self.process.wait()}: {said[-1]} (all of it: {self.log})"}
        return dict(json.loads(line))

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def train(arguments: argparse.Namespace, results: Results) -> list[tuple[str, str]]:
    """Train every contestant that is not complete, all of a group and seed in turns; return what failed."""
    failed: list[tuple[str, str]] = []
    python = pythons(arguments, chosen(arguments))
    for group in RIVALS:
        marks = marks_of(arguments, group)
        for seed in range(arguments.seeds):
            there = [one for one in chosen(arguments) if one.group == group and one.name in python]
            waiting = [one for one in there if not results.complete(one, seed, marks)]
            workers = [
                Worker(one, python[one.name], results.words(seed), results.folder / f"{file_name(one)}-{seed}.log")
                for one in waiting
            ]
            try:
                for index, mark in enumerate(marks):
                    for worker in list(workers):
                        said = worker.reach(mark)
                        if "error" in said:
                            failed.append((worker.contestant.name, said["error"]))
                            workers.remove(worker)
                        else:
                            results.take(worker.contestant, seed, mark, said, last=index == len(marks) - 1)
            finally:
                for worker in workers:
                    worker.end()
    return failed


def pythons(arguments: argparse.Namespace, contestants: Sequence[Contestant]) -> dict[str, str]:
    """Return the interpreter of each contestant, and say which are left out."""
    found = {one.name: sys.executable for one in contestants}
    if "pythae" in found:
        if arguments.pythae:
            found["pythae"] = arguments.pythae
        elif importlib.util.find_spec("pythae") is None:
            del found["pythae"]
            print("pythae is left out: install pythae 0.1.2 in an environment of its own, and give --pythae PYTHON")
    return found


def file_name(contestant: Contestant) -> str:
    """Return a contestant's name as a part of a file's name."""
    return "".join(letter if letter.isalnum() else "-" for letter in contestant.name)


# -- results -----------------------------------------------------------------------------------------------------


class Results:
    """What was measured, saved line by line.

    Args:
        arguments: Of the command.
        data: Name of the images.

    Attributes:
        rows: By contestant, seed and mark.
    """

    def __init__(self, arguments: argparse.Namespace, data: str) -> None:
        from morphospace.data.prepare import prepare
        from morphospace.data.settings import DataSettings

        self.arguments, self.data, self.folder = arguments, data, arguments.out / ("dry" if arguments.dry else "")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file, self.plot = self.folder / "results.jsonl", self.folder / "quality.png"
        self.picture = self.folder / "samples.png"
        self.pack = prepare(DataSettings(data=data, size=str(SIZE)))
        self.n = 64 if arguments.dry else SAMPLES
        self.rows: dict[tuple[str, int, float], dict[str, Any]] = {}
        if self.file.is_file() and not arguments.dry:
            for row in map(json.loads, self.file.read_text(encoding="utf-8").splitlines()):
                if row["conditions"] == self.conditions:
                    self.rows[row["contestant"], row["seed"], row["mark"]] = row

    @property
    def conditions(self) -> dict[str, Any]:
        """What a row must agree in to stand in the same table."""
        clock = "time on the wall" if self.arguments.wall else "processor time"
        about = {"data": self.data, "hash": self.pack.hash[:8], "size": SIZE, "n": self.n, "clock": clock}
        return {**about, "threads": self.arguments.threads, "cpu": machine()["cpu"]}

    def words(self, seed: int) -> list[str]:
        """Return the worker's arguments."""
        import numpy as np

        images = self.folder / "images.npy"
        if not images.is_file() or len(np.load(images, mmap_mode="r")) != len(self.pack.split("train")):
            np.save(images, self.pack.split("train").images)
        words = [str(images.absolute()), str(self.folder.absolute()), f"--seed={seed}", f"--samples={self.n}"]
        words += [f"--data={self.data}", f"--threads={self.arguments.threads}"]
        return words + ["--wall"] * self.arguments.wall

    def complete(self, contestant: Contestant, seed: int, marks: Sequence[float]) -> bool:
        """Return whether a contestant was judged at every mark."""
        return all((contestant.name, seed, mark) in self.rows for mark in marks)

    def take(self, contestant: Contestant, seed: int, mark: float, said: Mapping[str, Any], *, last: bool) -> None:
        """Judge samples, and save what was found."""
        import numpy as np

        file = Path(said["samples"])
        samples = np.load(file)
        found = self.judged(samples)
        row = {"contestant": contestant.name, "seed": seed, "mark": mark, "minutes": said["minutes"]}
        row |= {"images": said["images"], "steps": said["steps"], **found, "conditions": self.conditions}
        file.unlink()
        if last:
            np.save(self.folder / f"{file_name(contestant)}-{seed}-last.npy", samples[:16])
        self.rows[contestant.name, seed, mark] = row
        if self.arguments.dry:
            print(f"{contestant.name}: FD not measured", flush=True)
            return
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        print(f"{contestant.name}, seed {seed}, {mark:g} min: {row['images']:,} images, FD {row['fd']:.1f}", flush=True)

    def judged(self, samples: Any) -> dict[str, Any]:
        """Return the Frechet distance of samples to the test images, with its interval."""
        import morphospace as ms

        features = "pixels" if self.arguments.dry else ""
        found = ms.evaluate(
            real=self.pack, fake=samples, metrics=("fd",), n=self.n, features=features, say=lambda line: None
        )
        (one,) = (result for result in found.results if result.name.startswith("FD"))
        about = {key: one.conditions.get(key) for key in ("features", "features_quality", "n_real", "split")}
        return {"fd": one.value, "low": one.low, "high": one.high, **about}

    def curve(self, name: str, seed: int) -> list[tuple[float, float]]:
        """Return (minutes, FD) of a run, in order."""
        there = [row for (who, which, _), row in self.rows.items() if (who, which) == (name, seed)]
        return sorted((row["minutes"], row["fd"]) for row in there)

    def curves(self, name: str) -> list[list[tuple[float, float]]]:
        """Return the curves of all seeds."""
        seeds = sorted({seed for who, seed, _ in self.rows if who == name})
        return [self.curve(name, seed) for seed in seeds]

    def names(self, group: str) -> list[str]:
        """Return the contestants of a group that have results, in order."""
        there = {name for name, *_ in self.rows}
        return [one.name for one in CONTESTANTS.values() if one.group == group and one.name in there]

    def markdown(self) -> str:
        """Return a table for each group, and what they were measured on."""
        text: list[str] = []
        for group, rival in RIVALS.items():
            names = self.names(group)
            if names:
                text += [*self.table(names, rival), ""]
        return "\n".join([*text, *self.about()])

    def table(self, names: Sequence[str], rival: str) -> Iterator[str]:
        """Yield the rows of one group."""
        target = self.arguments.target
        most = max((mark for name, _, mark in self.rows if name in names), default=0)
        shown = [mark for mark in SHOWN if mark <= most]
        base = [reached(curve, target) for curve in self.curves(rival)]
        final = statistics.fmean([curve[-1][1] for curve in self.curves(rival)] or [math.nan])
        heads = [*(f"FD, {mark:g} min" for mark in shown), "images seen", f"minutes to FD {target:g}"]
        heads += [f"against {rival}", f"minutes to FD {final:.0f}, {rival}'s last"]
        yield f"| run | {' | '.join(heads)} |"
        yield f"|---|{'---:|' * len(heads)}"
        for name in names:
            curves = self.curves(name)
            cells = [spread([fd for curve in curves for at, fd in nearest(curve, mark)]) for mark in shown]
            images = [row["images"] for (who, _, mark), row in self.rows.items() if who == name and mark == most]
            times = [reached(curve, target) for curve in curves]
            cells += [f"{statistics.fmean(images):,.0f}" if images and not self.arguments.dry else "", duration(times)]
            cells += [share(times, base), duration([reached(curve, final) for curve in curves])]
            yield f"| {name} | {' | '.join(cells)} |" if not self.arguments.dry else f"| {name} | not measured |"

    def about(self) -> list[str]:
        """Return what everything was measured on."""
        if not self.rows:
            return ["no results"]
        first, here, seeds = next(iter(self.rows.values())), self.conditions, len({seed for _, seed, _ in self.rows})
        used = [CONTESTANTS[name] for group in RIVALS for name in self.names(group)]
        lines = [f"- {one.name}: {one.about}" for one in used]
        lines.append(f"- {here['data']}, {SIZE}x{SIZE}, {len(self.pack.split('train')):,} training images")
        if not self.arguments.dry:
            sets = f"{self.n:,} samples and {first['n_real']:,} images of {first['split']}"
            lines.append(f"- FD of {sets}, features {first['features']}, {first['features_quality']}; {seeds} seed(s)")
        return [*lines, f"- minutes of {here['clock']}, {here['threads']} thread(s), {here['cpu']}"]

    def draw(self) -> None:
        """Draw the curves and the samples."""
        from bench.quality_plot import draw_curves, draw_samples

        groups = {group: {name: self.curves(name) for name in self.names(group)} for group in RIVALS}
        titles = {"gan": "GANs", "vae": "VAEs"}
        panels = {titles[group]: curves for group, curves in groups.items() if curves}
        ours = {one.name for one in CONTESTANTS.values() if one.ours}
        clock = f"minutes of training ({self.conditions['clock']})"
        draw_curves(self.plot, panels, ours, clock, self.arguments.target)
        names = [name for group in RIVALS for name in self.names(group)]
        files = {name: self.folder / f"{file_name(CONTESTANTS[name])}-0-last.npy" for name in names}
        draw_samples(self.picture, {name: file for name, file in files.items() if file.is_file()})


def reached(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Return the minutes after which a curve first is at a target, between two marks by a power law; nan if never.

    >>> reached([(1.0, 100.0), (4.0, 25.0)], 50.0), reached([(1.0, 100.0)], 50.0), reached([(1.0, 40.0)], 50.0)
    (2.0, nan, 1.0)
    """
    for index, (at, fd) in enumerate(curve):
        if fd <= target:
            if index == 0:
                return at
            before, higher = curve[index - 1]
            return before * (at / before) ** (math.log(higher / target) / math.log(higher / fd))
    return math.nan


def nearest(curve: Sequence[tuple[float, float]], mark: float) -> list[tuple[float, float]]:
    """Return the point of a curve at a mark, if it was judged there; a mark is passed by at most a step."""
    later = [point for point in curve if mark <= point[0] < mark * 1.2]
    return later[:1]


def spread(values: Sequence[float]) -> str:
    """Return a mean, with its range in brackets if there are several values."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def duration(times: Sequence[float]) -> str:
    """Return minutes in words."""
    there = [time for time in times if not math.isnan(time)]
    if len(there) < len(times):
        return "not reached" if not there else f"reached by {len(there)} of {len(times)}"
    return "" if not there else f"{statistics.fmean(there):.2g}"


def share(times: Sequence[float], base: Sequence[float]) -> str:
    """Return what part of the rival's time was needed."""
    if not times or not base or any(map(math.isnan, [*times, *base])):
        return ""
    return f"{statistics.fmean(times) / statistics.fmean(base):.2f}"
