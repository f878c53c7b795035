"""The run folder: what a run leaves, and how it is found again."""

from __future__ import annotations

import fcntl
import json
import platform
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from morphospace.errors import RunError, SettingError, require
from morphospace.files import as_read, json_text, vacant, write_text, writing
from morphospace.plugins import NotHere
from morphospace.runs.configuration import Configuration, resolve, toml_of

NEEDED = ("data", "data_hash", "data_given", "shape", "custom")  # in [run] of run.toml


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Attributes:
        path: The folder.
        configuration: All settings, resolved.
        facts: `[run]` of run.toml: versions, the data's name, hash and shape, custom parts.
    """

    path: Path
    configuration: Configuration
    facts: Mapping[str, Any]

    @classmethod
    def create(cls, path: Path, configuration: Configuration, facts: Mapping[str, Any]) -> RunFolder:
        """Make the folder and write run.toml.

        Raises:
            RunError: The folder holds something else, or cannot be written.
        """
        if not vacant(path):
            raise RunError("out", str(path), "is there already and is not a run", "choose another path")
        facts = {
            **facts,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("morphospace", "torch", "numpy", "pillow")},
            "python": platform.python_version(),
        }
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        run = cls(path, configuration, facts)
        run.write()
        return run

    def write(self) -> None:
        """Write run.toml."""
        write_text(self.path / "run.toml", toml_of({"run": self.facts, **self.configuration.to_dict()}))

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Read the folder of an existing run.

        Raises:
            RunError: If there is none, its run.toml is broken, or no package here brings its model.
        """
        file = path / "run.toml"
        if not file.is_file():
            near = ", ".join(str(p) for p in find_runs(path.parent)[:5]) if path.parent.is_dir() else ""
            raise RunError("run", str(path), f"no run.toml there{(f' (runs nearby: {near})' if near else '')}")
        try:
            facts = tomllib.loads(file.read_text(encoding="utf-8"))["run"]
            missing = [name for name in NEEDED if name not in facts]
            require(not missing, "run", "", f"lacks {', '.join(missing)}")
            return cls(path, resolve(recipe=str(file)), facts)
        except NotHere as error:
            raise RunError("run", str(path), f"its {error}") from error
        except (SettingError, KeyError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RunError("run", str(path), f"run.toml is broken ({error})") from error

    def check_settings(self, asked: Configuration) -> None:
        """Refuse to continue the run with settings that make it another one.

        Raises:
            RunError: If some differ; the error names them.
        """
        if differences := self.configuration.differences(asked):
            rule = f"holds a run of another configuration ({'; '.join(differences)})"
            way_out = f"choose another path, and --from {shlex.quote(str(self.path))} to begin with its weights"
            raise RunError("out", str(self.path), rule, way_out)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the run's images."""
        height, width, channels = self.facts["shape"]
        return int(height), int(width), int(channels)

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The file of its numbers, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """The file that says how the best checkpoint scored, where metrics were watched."""
        return self.path / "best.json"

    def read_best(self) -> dict[str, Any] | None:
        """Return what `best.json` holds, a score that is null as NaN; None where there is none, or nothing whole."""
        try:
            found: dict[str, Any] = json.loads(self.best.read_text(encoding="utf-8"))
            for score in (score for part in ("selection", "report") for score in found[part].values()):
                score["value"] = as_read(score["value"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return found

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; a last line that a kill cut short is left out, and null is NaN."""
        lines: list[dict[str, Any]] = []
        if self.metrics.is_file():
            for text in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    line = json.loads(text)
                except ValueError:
                    break
                if not isinstance(line, dict) or "step" not in line:
                    break
                lines.append({name: as_read(value) for name, value in line.items()})
        return lines

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
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    "out", str(self.path), "another process is training this run", "wait for it or stop it"
                ) from error
            yield


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
