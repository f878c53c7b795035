"""Kill commands at random moments, run them again, and compare what they leave with an undisturbed run.

Each trial starts a command in an empty folder and sends SIGKILL, SIGTERM or SIGINT: after a random time, or just before
a random one of its file operations (open to write, sync, rename, remove, make a folder), or of its first ones, in which
a folder is born. So saves and packing are hit as often as the long stretches between them. The same command is then run
again until it ends; now and then that is killed too. In the end the folder must hold the same names, and the files the
same bytes, but for times: weights, averages, optimizer, pictures, log, settings, packs, tables. No temporary file may
be left.

A trial is a fork of one process that has torch loaded, so that it takes as long as its work. Unix only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "main"]

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
LIMIT_SECONDS = 120  # of one start of a command
BIRTH = 40  # of a command's first file operations
AGAIN = 0.3  # how often the second start is killed as well
TIMES = ("seconds", "images_per_second", "scoring_seconds", "created")
SMALL = ["--tower=mlp", "--widths=8", "--latent-dim=2", "--batch-size=32", "--device=cpu", "--precision=fp32"]
# Reports and checkpoints are out of step on purpose: a checkpoint then falls between two reports.
PACE = ["--images=640", "--report-images=96", "--checkpoint-images=160"]
PHOTOS = 300  # enough for several processes to decode them

Words = tuple[str, ...]
Files = Mapping[str, str]  # a hash by the file's name


@dataclass(frozen=True)
class Scenario:
    """A command to kill.

    Attributes:
        name: Its name in the table.
        words: The command line, without `morpho`.
        before: Command lines that run undisturbed before, once for all trials.
        photos: How many pictures lie in the folder `photos`.
    """

    name: str
    words: Words
    before: tuple[Words, ...] = ()
    photos: int = 0


def _scenarios() -> list[Scenario]:
    vae = ("train", "vae", "--data", "digits", "--out", "run", *SMALL, *PACE)
    averaged = (*vae, "--ema-halflife-images", "100", "--valid", "0.2", "--keep", "2")
    scored = (*vae, "--valid", "0.2", "--best", "fd", "--metrics-n", "50", "--metrics-features", "pixels")
    gan = ("train", "dcgan", "--data", "digits", "--out", "run", *PACE, *SMALL[1:])
    sweep = ("sweep", "vae", "--data", "digits", "--out", "sweep", "--grid", "beta=0.5,2", *SMALL)
    pictures = ("interpolate", "run", "--from", "0", "--to", "1", "--steps", "4", "--out", "walk.gif")
    return [
        Scenario("train a VAE", averaged),
        Scenario("train a GAN", gan),
        Scenario("train and score", scored),
        Scenario("pack", ("data", "pack", "folder:photos", "--size", "16", "--out", "pack"), photos=PHOTOS),
        Scenario("sweep", (*sweep, "--images", "320", "--checkpoint-images", "160")),
        Scenario("export", ("export", "run", "--format", "safetensors", "--out", "net.safetensors"), (vae,)),
        Scenario("film", pictures, (vae,)),
        Scenario("evaluate", ("evaluate", "run", "--metrics", "fd,mse", "--n", "64", "--features", "pixels"), (vae,)),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--n", type=int, default=100, help="trials, shared out over the commands (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default 0)")
    parser.add_argument("--only", default="", help="a word of the names of the commands to kill; all when not given")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the folders of failed trials there")


def main(arguments: argparse.Namespace) -> int:
    """Run the trials, print the table, and return the exit status: 1 if a trial failed."""
    if arguments.n < 1:
        print(f"error: --n {arguments.n}: must be at least 1", file=sys.stderr)
        return 2
    _load()
    rng, began = random.Random(arguments.seed), time.perf_counter()
    chosen = [scenario for scenario in _scenarios() if arguments.only in scenario.name]
    rows: dict[str, Counter[str]] = {scenario.name: Counter() for scenario in chosen[: arguments.n]}
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="morphospace-kills-") as name:
        here = Path(name) / "here"  # of every command, since some files hold the absolute place of the images
        references = {
            s.name: Reference(s, here, Path(name) / f"before-{i}") for i, s in enumerate(chosen[: arguments.n])
        }
        for number in range(arguments.n):
            scenario = chosen[number % len(chosen)]
            trial = Trial(references[scenario.name], here, rng)
            wrong = trial.run()
            rows[scenario.name].update(["trials", trial.signal, trial.place, *(["good"] if not wrong else [])])
            if wrong:
                failures.append(f"trial {number}, {scenario.name}, {trial.words}: {'; '.join(wrong)}")
                print(failures[-1], file=sys.stderr, flush=True)
                if arguments.keep:
                    shutil.copytree(here, arguments.keep / f"trial-{number}", dirs_exist_ok=True)
            shutil.rmtree(here)
    _print(rows, arguments.seed, time.perf_counter() - began)
    return 1 if failures else 0


def _print(rows: Mapping[str, Counter[str]], seed: int, seconds: float) -> None:
    heads = (
        "trials",
        *SIGNALS,
        "in a file operation",
        "in one of the first",
        "at a random time",
        "same as undisturbed",
    )
    keys = ("trials", *SIGNALS, "operation", "birth", "time", "good")
    total: Counter[str] = sum(rows.values(), Counter())
    print(f"seed {seed}, {seconds:,.0f} s\n")
    print(f"| command | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for name, row in {**rows, "all": total}.items():
        print(f"| {name} | {' | '.join(str(row[key]) for key in keys)} |")


def _load() -> None:
    """Load what every command needs, once, before the forks."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch
    import torch._dynamo
    import torch.utils.tensorboard

    import morphospace.cli.app
    import morphospace.tools.train.job  # noqa: F401

    torch.set_num_threads(1)


# -- one start of a command ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """How a start of a command ended: its exit status, or minus the signal, what it said, and its file operations."""

    status: int
    said: str
    operations: int
    seconds: float


def start(folder: Path, words: Words, number: int = 0, *, operation: int = 0, after: float = 0.0) -> End:
    """Run a command in a folder, in a process of its own.

    Args:
        folder: The working directory, with a cache of its own beside it.
        words: The command line, without `morpho`.
        number: A signal to send to it; 0 for none.
        operation: Send it just before this file operation, counted from 1; 0 to send it after a time.
        after: The time in seconds.
    """
    log, count = folder.with_suffix(".log"), folder.with_suffix(".count")
    count.write_bytes(bytes(8))
    began = time.perf_counter()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _child(folder, words, log, count, number if operation else 0, operation)
    if number and not operation:
        _wait(child, after)  # the child may be over before
        _send(child, number)
    status = _wait(child, LIMIT_SECONDS)
    if status is None:
        _send(child, signal.SIGKILL)
        _wait(child, LIMIT_SECONDS)
    seconds = time.perf_counter() - began
    ended = -999 if status is None else os.waitstatus_to_exitcode(status)
    return End(ended, log.read_text(errors="replace"), int.from_bytes(count.read_bytes(), "little"), seconds)


_over: dict[int, int] = {}


def _wait(child: int, seconds: float) -> int | None:
    """Wait for a process so long; return its status, None while it runs."""
    deadline = time.perf_counter() + seconds
    while child not in _over:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            _over[child] = status
        elif time.perf_counter() >= deadline:
            return None
        else:
            time.sleep(0.002)
    return _over[child]


def _send(child: int, number: int) -> None:
    if child not in _over:
        os.kill(child, number)


def _child(folder: Path, words: Words, log: Path, count: Path, number: int, operation: int) -> None:
    """Be the command: its words go to the log, its file operations are counted, and one of them brings the signal."""
    code, command = 130, None
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["MORPHOSPACE_CACHE"], tempfile.tempdir = str(folder / "cache"), str(folder / "tmp")
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, 1)
        os.dup2(written, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        _count_operations(os.open(count, os.O_WRONLY), number, operation)
        from morphospace.cli.app import main as command

        code = command(list(words))
    except BaseException as error:
        if command is not None or not isinstance(error, KeyboardInterrupt):  # else it came before the command
            traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _count_operations(file: int, number: int, operation: int) -> None:
    """Count operations that change files, in a file, and send a signal just before the one of a number."""
    done = 0

    def one() -> None:
        nonlocal done
        done += 1
        os.pwrite(file, done.to_bytes(8, "little"), 0)
        if done == operation:
            os.kill(os.getpid(), number)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _, mode, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR) or (mode and set(mode) & set("wax+")):
                one()
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            one()

    sync = os.fsync

    def synced(descriptor: Any) -> None:
        one()
        sync(descriptor)

    os.fsync = synced
    sys.addaudithook(heard)


# -- trials --------------------------------------------------------------------------------------------------


class Reference:
    """What a command leaves undisturbed, and how long it takes."""

    def __init__(self, scenario: Scenario, folder: Path, before: Path) -> None:
        self.scenario, self.before = scenario, before
        for name in ("cache", "tmp", *(["photos"] if scenario.photos else [])):
            (folder / name).mkdir(parents=True)
        for number in range(scenario.photos):
            _save_photo(folder / "photos" / f"{number}.png", number)
        for words in scenario.before:
            _expect(start(folder, words), words)
        shutil.copytree(folder, before)
        self.end = _expect(start(folder, scenario.words), scenario.words)
        self.files = files_of(folder)
        shutil.rmtree(folder)


def _save_photo(path: Path, number: int) -> None:
    from PIL import Image

    Image.effect_noise((24, 20), 10 + number % 100).save(path)


def _expect(end: End, words: Words) -> End:
    if end.status:
        raise RuntimeError(f"morpho {' '.join(words)} ended with {end.status}: {end.said}")
    return end


class Trial:
    """One command that is killed and run again until it ends."""

    def __init__(self, reference: Reference, folder: Path, rng: random.Random) -> None:
        self.reference, self.folder, self.rng = reference, folder, rng
        self.signal, self.place = rng.choice(SIGNALS), rng.choice(("operation", "birth", "time"))
        self.moments: list[str] = []

    @property
    def words(self) -> str:
        """What was done to the command."""
        return ", then ".join(self.moments)

    def run(self) -> list[str]:
        """Return what is wrong in the end; nothing if all is as undisturbed."""
        shutil.copytree(self.reference.before, self.folder)
        ends = [self.killed(self.signal, self.place)]
        if self.rng.random() < AGAIN:
            ends.append(self.killed(self.rng.choice(SIGNALS), "operation"))
        ends.append(start(self.folder, self.reference.scenario.words))
        said = "".join(end.said for end in ends)
        wrong = [f"exit status {ends[-1].status}: {ends[-1].said.strip()[-300:]}"] if ends[-1].status else []
        wrong += ["a traceback: " + said[said.index("Traceback") :][-500:]] if "Traceback" in said else []
        return wrong + differences(self.reference.files, files_of(self.folder))

    def killed(self, name: str, place: str) -> End:
        """Start the command and send it a signal."""
        usual, number = self.reference.end, int(signal.Signals[name])
        if place == "time":
            after = self.rng.uniform(0, usual.seconds)
            self.moments.append(f"{name} after {after:.3f} s")
            return start(self.folder, self.reference.scenario.words, number, after=after)
        operation = self.rng.randint(1, min(usual.operations, BIRTH if place == "birth" else usual.operations))
        self.moments.append(f"{name} at operation {operation} of {usual.operations}")
        return start(self.folder, self.reference.scenario.words, number, operation=operation)


def differences(wanted: Files, found: Files) -> list[str]:
    """Return what differs between two folders, in words."""
    names = {"missing": wanted.keys() - found.keys(), "left over": found.keys() - wanted.keys()}
    names["different"] = {name for name in wanted.keys() & found.keys() if wanted[name] != found[name]}
    return [f"{word}: {', '.join(sorted(some))}" for word, some in names.items() if some]


def files_of(folder: Path) -> dict[str, str]:
    """Return a hash of every file below a folder, times left out; of TensorBoard's files only that there are some."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if "tensorboard/" in name:
            continue
        found[name] = "" if path.is_dir() else hashlib.sha256(_lasting(path)).hexdigest()
    return found


def _lasting(path: Path) -> bytes:
    """Return what of a file is the same in every run."""
    content = path.read_bytes()
    if path.suffix in (".html", ".md", ".csv"):  # they hold times, and the numbers are in other files too
        return b""
    if path.suffix == ".jsonl":
        return b"\n".join(_timeless(line) for line in content.splitlines())
    if path.suffix == ".json":
        return _timeless(content)
    if path.suffix == ".toml":
        return re.sub(rb"(?m)^created = .*$", b"", content)
    if path.suffix == ".safetensors":  # its header is a mapping in no order
        length = int.from_bytes(content[:8], "little")
        return _timeless(content[8 : 8 + length]) + content[8 + length :]
    return content


def _timeless(text: bytes) -> bytes:
    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(one) for name, one in value.items() if name not in TIMES}
        return [kept(one) for one in value] if isinstance(value, list) else value

    return json.dumps(kept(json.loads(text)), sort_keys=True).encode()
