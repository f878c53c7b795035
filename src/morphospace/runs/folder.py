"""The run folder: what a run leaves, and how it is found again."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from morphospace import __version__
from morphospace.data.pack import Count, Side, Ways
from morphospace.errors import RunError, SettingError, require, shown
from morphospace.files import (
    absolute,
    as_read,
    is_plain,
    json_text,
    open_plain,
    read_bytes,
    read_text,
    vacant,
    write_text,
    writing,
)
from morphospace.plugins import NotHere
from morphospace.ranges import Seed
from morphospace.records import number, read_json, read_toml, typed
from morphospace.runs.configuration import Configuration, resolve, toml_of

DIAGRAM = "diagram.svg"  # of the model that was trained
TRACKED = "trackers.json"  # what trackers call the run
KEPT = ("run.toml", ".lock", "metrics.jsonl", "best.json", "evaluation.json", "curves.png", "report.html")
FILES = (*KEPT, DIAGRAM, TRACKED)
FOLDERS = ("checkpoints", "samples", "reconstructions", "tensorboard", "wandb")
HASHED = re.compile(r"(.+)-[0-9a-f]{12}")  # the name of a folder that the library itself lays out


class Facts(TypedDict):
    """`[run]` of run.toml."""

    data: str
    data_hash: str
    data_given: bool
    shape: tuple[Side, Side, Literal[1, 3]]
    custom: list[str]
    labels: NotRequired[list[str]]
    attributes: NotRequired[list[str]]
    crop: NotRequired[Literal["center", "stretch", "pad"]]
    rule: NotRequired[Ways]
    held_out: NotRequired[Count]
    products: NotRequired[list[str]]
    new_layers: NotRequired[bool]
    start_from: NotRequired[str]
    adopted: NotRequired[bool]
    hub: NotRequired[str]
    seeds: NotRequired[list[Seed]]
    created: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    python: NotRequired[str]


class Scored(TypedDict):
    """A number in best.json or evaluation.json, as `Result` writes it."""

    name: str
    value: int | float | None
    low: int | float | None
    high: int | float | None
    unit: str
    conditions: dict[str, Any]
    metric: NotRequired[str]
    better: NotRequired[Literal["lower", "higher", ""]]
    null: NotRequired[dict[str, Any] | None]


class KeptResults(TypedDict):
    """evaluation.json."""

    results: list[Scored]


class Best(TypedDict):
    """best.json: which checkpoint is the best, and how it scored."""

    checkpoint: Count
    by: str
    better: Literal["lower", "higher"]
    selection: dict[str, Scored]
    report: dict[str, Scored]


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Attributes:
        path: The folder as it was named, for words.
        configuration: All settings, resolved.
        facts: `[run]` of run.toml: versions, the data's name, hash and shape, custom parts.
        place: The folder from any working directory, for files.
    """

    path: Path
    configuration: Configuration
    facts: Mapping[str, Any]
    place: Path = field(default=Path(), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Remember where the folder is: the working directory may change."""
        if self.place == Path():
            object.__setattr__(self, "place", absolute(self.path))

    @classmethod
    def create(cls, path: Path, configuration: Configuration, facts: Mapping[str, Any]) -> RunFolder:
        """Make the folder and write run.toml.

        Raises:
            RunError: The folder holds something else, or cannot be written.
        """
        if (path / "run.toml").exists():
            raise RunError("out", str(path), "another process has just begun this run", "wait for it or stop it")
        if not vacant(path):
            raise RunError("out", str(path), "is there already and is not a run", "choose another path")
        facts = {
            **facts,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            # Its own from the code: it runs from a folder too, without being installed.
            "versions": {"morphospace": __version__, **{name: version(name) for name in ("torch", "numpy", "pillow")}},
            "python": platform.python_version(),
        }
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        run = cls(path, configuration, facts)
        run.write()
        return run

    def write(self) -> None:
        """Write run.toml."""
        write_text(self.place / "run.toml", toml_of({"run": self.facts, **self.configuration.to_dict()}))

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Read the folder of an existing run.

        Raises:
            RunError: If there is none, its run.toml is broken, or no package here brings its model.
        """
        file = path / "run.toml"
        if not file.exists():
            near = ", ".join(str(p) for p in find_runs(path.parent)[:5]) if path.parent.is_dir() else ""
            rule = f"no run.toml there{(f' (runs nearby: {near})' if near else '')}"
            raise RunError("run", str(path), rule, "give the folder that a training was given as its --out")
        check_own(path)
        try:
            content = read_toml(read_text(file))
            facts = dict(typed(content.get("run"), Facts, "[run]"))
            for name in ("labels", "attributes"):  # at the end: a run that continues is written in the same order
                facts.setdefault(name, [])
            return cls(path, resolve(recipe=str(file)), facts)
        except NotHere as error:
            rule = f"its {error.name} = {shown(error.value)}: {error.rule}"
            raise RunError("run", str(path), rule, error.way_out) from error
        except (SettingError, OSError, ValueError) as error:
            raise RunError("run", str(path), f"run.toml is broken ({error})", "put a copy of it there") from error

    def check_settings(self, asked: Configuration) -> None:
        """Refuse to continue the run with settings that make it another one.

        Raises:
            RunError: If some differ; the error names them.
        """
        if differences := self.configuration.differences(asked):
            rule = f"holds a run of another configuration ({'; '.join(differences)})"
            again = f"choose another path, and --from {shlex.quote(str(self.path))} to begin with its weights"
            way_out = f"leave out what differs to continue this run, or {again}"
            raise RunError("out", str(self.path), rule, way_out)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the run's images."""
        height, width, channels = self.facts["shape"]
        return int(height), int(width), int(channels)

    @property
    def name(self) -> str:
        """The run's name as a person says it: that of its folder, without the hash at the end of the library's own."""
        return self.plain_name(self.place.resolve().name)

    @staticmethod
    def plain_name(name: str) -> str:
        """Return what a run in a folder of this name is called.

        >>> RunFolder.plain_name("drawn-faces-f00f2c4e9a71"), RunFolder.plain_name("vae-beta-4")
        ('drawn faces', 'vae-beta-4')
        """
        return found[1].replace("-", " ") if (found := HASHED.fullmatch(name)) else name

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.place / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The file of its numbers, one JSON object a line."""
        return self.place / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """The file that says how the best checkpoint scored, where metrics were watched."""
        return self.place / "best.json"

    def read_best(self) -> dict[str, Any] | None:
        """Return what `best.json` holds, a score that is null as NaN; None where there is none.

        Raises:
            RunError: If it holds something else.
        """
        if not self.best.exists():
            return None
        try:
            found: dict[str, Any] = typed(read_json(read_bytes(self.best)), Best, "best.json")
            for score in (score for part in ("selection", "report") for score in found[part].values()):
                score["value"] = as_read(score["value"])
            missing = [name for name in found["report"] if name not in found["selection"]]
            require(not missing, "selection", missing, "must hold the numbers that were reported")
        except (OSError, ValueError) as error:
            raise self.broken(self.best, error) from error
        return found

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; a last line that a kill cut short is left out, and null is NaN.

        Raises:
            RunError: If a line holds something else than numbers.
        """
        try:
            content = read_bytes(self.metrics)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.broken(self.metrics, error) from error
        lines: list[dict[str, Any]] = []
        for count, text in enumerate(content.splitlines(), 1):
            try:
                line = read_json(text)
            except ValueError:
                break
            if not isinstance(line, dict) or "step" not in line:
                break
            whole = all(type(line.get(name, 0)) is int for name in ("step", "images"))
            if not whole or not all(number(value) for name, value in line.items() if name != "due"):
                raise self.broken(self.metrics, f"line {count} holds something else than numbers")
            lines.append({name: as_read(value) for name, value in line.items()})
        return lines

    def broken(self, file: Path, why: object) -> RunError:
        """Return the error for a file that does not hold what it must."""
        return RunError("run", str(self.path), f"{file.name} is broken ({why})", "move it away, or take another run")

    def forget_after(self, step: int, *, signals: bool = True) -> None:
        """Drop metric lines of steps that a resumed run will take again, and, with `signals`, those of a signal."""
        kept = [line for line in self.read_metrics() if line["step"] <= step and (line.get("due", True) or not signals)]
        write_text(self.metrics, "".join(json_text(line) + "\n" for line in kept))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one process at a time; the lock goes with the process, also by kill -9.

        Raises:
            RunError: Another process trains it.
        """
        with writing(self.place / ".lock"):
            file = open_plain(self.place / ".lock", "lock")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    "out", str(self.path), "another process is training this run", "wait for it or stop it"
                ) from error
            yield


def own_settings(path: Path | None) -> Configuration | None:
    """Return the settings of the run that a folder holds; None where it holds none, or no folder is given.

    Raises:
        RunError: If it cannot be read.
    """
    return None if path is None or not (path / "run.toml").is_file() else RunFolder.open(path).configuration


def check_own(path: Path) -> None:
    """Refuse a run folder that leads elsewhere: what we read, write and remove in it must lie in it.

    Raises:
        RunError: If a file of the run is a link or no plain file, or a folder of it is a link.
    """
    odd = [name for name in FILES if os.path.lexists(path / name) and not is_plain(path / name)]
    odd += [name for name in FOLDERS if (path / name).is_symlink()]
    if odd:
        way_out = "copy what it leads to into the run's folder; the folder as a whole may be a link"
        raise RunError("run", str(path), f"its {odd[0]} is a link or no plain file", way_out)


def last_values(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last value of each number in a log."""
    return {name: value for line in lines for name, value in line.items() if name != "due"}


def last_of(lines: Sequence[Mapping[str, Any]], term: str) -> tuple[float | None, bool]:
    """Return the last value of a term such as `mse`, and whether it is of held-out images, which go first."""
    last = last_values(lines)
    found = [name for name in last if name.endswith(f"/{term}") and not name.startswith("metric/")]
    held_out = [name for name in found if name.startswith("valid/")]
    return next((last[name] for name in held_out or found), None), bool(held_out)


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders below `folder`, itself included, three levels deep, sorted."""
    patterns = ("run.toml", "*/run.toml", "*/*/run.toml", "*/*/*/run.toml")
    return sorted({file.parent for pattern in patterns for file in folder.glob(pattern)})
