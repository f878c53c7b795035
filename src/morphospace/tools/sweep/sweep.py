"""Train a grid of settings, one run after another, and set the runs side by side."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

from PIL import Image

from morphospace.data.datasets import from_dataset
from morphospace.data.pack import Pack
from morphospace.errors import MorphospaceError, RunError, SettingError, TrainingError, one_line, require
from morphospace.files import json_text, read_bytes, vacant, write_text
from morphospace.models.contract import Encodes
from morphospace.ranges import AtLeast, check_ranges
from morphospace.records import read_json, typed
from morphospace.runs.folder import RunFolder
from morphospace.runs.images import KEEP_GB
from morphospace.runs.run import load
from morphospace.tools.compare import save_comparison
from morphospace.tools.compare.gather import MOST, check_metrics, gather
from morphospace.tools.sample import reconstruct, sample
from morphospace.tools.sweep.grid import Combination, Seeds, combinations
from morphospace.tools.sweep.table import Drawn, Row, SweepTable, row_of, save_panels
from morphospace.tools.tool import Answer, Asked, Displayable, Summary, Table, status
from morphospace.tools.train.job import Job
from morphospace.tools.train.train import Hooks, train
from morphospace.training.events import Event, Finished

SHOWN = 8
SIGNALS = ("SIGINT", "SIGTERM")


@dataclass(frozen=True)
class Sweep(Displayable):
    """The result of a sweep.

    Attributes:
        path: Its folder.
        table: A row for each run that was trained.
        csv: The table in full precision.
        page: The table to read, sweep.md.
        panels: Samples and reconstructions of every run; None where no run has any.
        comparison: The page that compares the runs, compare.html; None for one run, or where the sweep was stopped.
        stopped: Name of the signal that ended it early; empty where none did.
    """

    path: Path
    table: SweepTable
    csv: Path
    page: Path
    panels: Path | None
    comparison: Path | None = None
    stopped: str = ""

    def picture(self) -> Image.Image | None:
        """Return the samples and reconstructions of every run."""
        return None if self.panels is None else Image.open(self.panels)

    def summary(self) -> Summary:
        """Return the table, and which files were written."""
        again = f"stopped in run {len(self.table.rows)}; run the same command again to go on"
        lines = [again if self.stopped else "", f"{'table':16}{self.csv}, {self.page}"]
        lines += [f"{'picture':16}{self.panels}"] if self.panels else []
        lines += [f"{'side by side':16}{self.comparison}"] if self.comparison else []
        return Summary(lines, Table(self.table.columns, self.table.cells()))

    def show(self, asked: Asked) -> Answer:
        """Return the table, and which files were written."""
        rows = [{"run": str(self.path / row.name), **row.values()} for row in self.table.rows]
        written = {"csv": self.csv, "page": self.page, "picture": self.panels, "comparison": self.comparison}
        named = {name: None if path is None else str(path) for name, path in written.items()}
        data = {"out": str(self.path), "runs": rows, **named, "stopped": self.stopped}
        code = 128 + signal.Signals[self.stopped] if self.stopped else 0
        return Answer(data, *self.summary(), code)


def sweep(
    model: str | None = None,
    data: str | Pack | Any = None,
    out: str | Path = "sweep",
    *,
    grid: Mapping[str, Sequence[Any]],
    seeds: Seeds = 1,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    new_layers: bool = False,
    compare: Sequence[str] | str = "none",
    compare_n: Annotated[int, AtLeast(2)] | None = None,
    say: Callable[[str], None] = status,
    each: Callable[[Combination, int, int], Hooks] | None = None,
    keep_data: Annotated[float, AtLeast(0)] = KEEP_GB,
    **settings: Any,
) -> Sweep:
    """Train every combination of a grid as a run of its own, then write a table, a picture and a page of them all.

    Runs that `out` holds already are continued or kept: the same call continues a sweep that was stopped, and more
    values in the grid add runs. If the loss of a run is not finite or its settings do not fit the data, the table says
    so and the next run is trained.

    Args:
        model: Name of the model; may be left to the recipe.
        data: As for `train`.
        out: Folder of the runs, the table (sweep.csv, sweep.md), the picture (sweep.png) and the page (compare.html).
        grid: Values of each setting that varies, `{"beta": [0.5, 1, 4], "latent_dim": [8, 32]}`.
        seeds: How many seeds for each combination.
        recipe: Name of a recipe or path of a TOML file; the settings given here go first.
        start_from: A finished run; every run starts from its weights.
        new_layers: As for `train`.
        compare: Which metrics the page compares, as for `evaluate`; the usual ones for each run when empty, or `none`.
        compare_n: How many samples they are measured on, as for `evaluate`.
        say: Takes one line at a time for the user: which run comes next, and what is done for the page.
        each: Called before each run with the run, its number from 1 and how many there are; returns its hooks.
        keep_data: As for `train`.
        settings: The settings that all runs share.

    Raises:
        SettingError: If a setting breaks a rule, or the first run's settings do not fit the data.
        RunError: If `out` holds something else, or a run there has other settings.
    """
    check_ranges(sweep, locals())
    wanted = check_metrics(compare)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    require(world == 1, "WORLD_SIZE", world, "a sweep is one process", "start it without torchrun")
    if isinstance(data, str):
        settings["data"] = data
    given = None if data is None or isinstance(data, str) else data if isinstance(data, Pack) else from_dataset(data)
    path = Path(out)
    runs = combinations(model, recipe, grid, seeds, settings, path)
    if given is None:
        rehearsed(runs[:1], path, start_from, new_layers)
    new = read_mark(path) is None
    mark(path, runs[0].configuration.model.name, {name: list(map(str, values)) for name, values in grid.items()}, seeds)
    rows: list[Row] = []
    stopped = ""
    for number, run in enumerate(runs, 1):
        hooks = each(run, number, len(runs)) if each else announced(run, number, len(runs), say)
        try:
            how: dict[str, Any] = {"start_from": start_from, "new_layers": new_layers, "keep_data": keep_data}
            row, stopped = carried_out(run, path / run.name, hooks, data=given, recipe=recipe, **how)
        except MorphospaceError as error:
            if number > 1 and isinstance(error, SettingError):
                row = row_of(run.name, run.settings, (), str(error))
            else:  # of the first run, it is probably a mistake that all runs share
                if new and number == 1:
                    unmark(path)
                raise
        rows.append(row)
        csv, page = SweepTable(rows).save(path)
        if stopped:
            break
    picture = draw(path, runs[: len(rows)], given)
    whole = len(runs) > 1 and not stopped
    comparison = compared(path, runs, wanted, n=compare_n, data=given, say=say) if whole else None
    return Sweep(path, SweepTable(rows), csv, page, picture, comparison, stopped)


def announced(run: Combination, number: int, count: int, say: Callable[[str], None]) -> Hooks:
    """Say which run comes next; its hooks, if the caller gives none."""
    say(f"run {number} of {count}: {run.name}")
    return Hooks()


def compared(path: Path, runs: Sequence[Combination], wanted: Sequence[str] | None, **how: Any) -> Path:
    """Write compare.html, with the first combinations if there are more than a page holds."""
    combined = [str({name: value for name, value in run.settings.items() if name != "seed"}) for run in runs]
    first = list(dict.fromkeys(combined))[:MOST]
    there = [(path / run.name / "run.toml").is_file() for run in runs]
    kept = [run for run, of, is_there in zip(runs, combined, there, strict=True) if of in first and is_there]
    made = gather([RunFolder.open(path / run.name) for run in kept], wanted, **how)
    if len(kept) < sum(there):
        left = f"The first {MOST} combinations alone are here, {len(kept)} of {sum(there)} runs."
        made = replace(made, warnings=(f"{left} The others: `morpho compare RUN RUN ...`.", *made.warnings))
    return save_comparison(made, path / "compare.html")


def rehearsed(
    runs: Sequence[Combination], path: Path, start_from: str | Path | None, new_layers: bool
) -> dict[str, str]:
    """Return why runs of a sweep cannot be trained, by their names; nothing is packed or written.

    Raises:
        MorphospaceError: If the first cannot, or the folder of one holds something else.
    """
    refused: dict[str, str] = {}
    for number, run in enumerate(runs):
        try:
            job = Job(run.configuration, path / run.name, None, {}, Hooks())
            job.rehearse(None if start_from is None else Path(start_from), new_layers=new_layers)
        except SettingError as error:
            if number == 0:
                raise
            refused[run.name] = str(error)
    return refused


class Mark(TypedDict):
    """sweep.json."""

    model: str
    grid: dict[str, list[str]]
    seeds: Seeds


def read_mark(path: Path) -> Mark | None:
    """Return what sweep.json says; None if the folder has none.

    Raises:
        RunError: If it is not what `mark` wrote, so that the folder is probably something else.
    """
    file = path / "sweep.json"
    if not os.path.lexists(file):
        return None
    try:
        found: Mark = typed(read_json(read_bytes(file)), Mark, "sweep.json")
    except (OSError, ValueError) as error:
        rule = f"its sweep.json is not a sweep's ({one_line(error)})"
        raise RunError("out", str(path), rule, "choose another path, or remove that file") from error
    return found


def mark(path: Path, model: str, grid: Mapping[str, Sequence[str]], seeds: int) -> None:
    """Write sweep.json, which makes the folder a sweep's.

    Raises:
        RunError: If the folder holds something else.
    """
    file = path / "sweep.json"
    if not read_mark(path) and not vacant(path):
        raise RunError("out", str(path), "is there already and is not a sweep", "choose another path")
    write_text(file, json_text({"model": model, "grid": dict(grid), "seeds": seeds}, indent=1) + "\n")


def unmark(path: Path) -> None:
    """Remove a sweep's folder that was made for nothing; one that holds more than sweep.json stays."""
    if [file.name for file in path.iterdir()] == ["sweep.json"]:
        (path / "sweep.json").unlink()
        path.rmdir()


def carried_out(run: Combination, path: Path, hooks: Hooks, *, data: Pack | None, **how: Any) -> tuple[Row, str]:
    """Train a run to its end; return its row, and the signal that stopped it."""
    ends: list[str] = []

    def ending(event: Event) -> None:
        if isinstance(event, Finished):
            ends.append(event.stopped)

    hooks = replace(hooks, listeners=[*hooks.listeners, ending])
    given = {**run.given} if data is None else {**run.given, "data": data}
    try:
        train(run.configuration.model.name, out=path, hooks=hooks, **how, **given)
        note = ends[-1] if ends else ""
    except TrainingError as error:
        note = str(error)
    lines = RunFolder.open(path).read_metrics()
    return row_of(run.name, run.settings, lines, note), note if note in SIGNALS else ""


def draw(path: Path, runs: Sequence[Combination], data: Pack | None) -> Path | None:
    """Write sweep.png: for each run samples from the same noise, and reconstructions of the same images."""
    rows: list[Drawn] = []
    originals = None
    for run in runs:
        samples = made = None
        # Without a checkpoint, enough images or a prior, the row stays empty.
        with contextlib.suppress(RunError, SettingError):
            loaded = load(path / run.name, checkpoint="last")
            made = reconstruct(loaded, SHOWN, data=data) if isinstance(loaded.model, Encodes) else None
            samples = sample(loaded, SHOWN)
        if made is not None and originals is None:
            originals = made.originals
        rows.append(Drawn("\n".join(run.words), samples, None if made is None else made.images))
    if all(row.samples is None and row.rebuilt is None for row in rows):
        return None
    facts = {"runs": [run.name for run in runs], "seed": 0, "checkpoint": "last"}
    save_panels(path / "sweep.png", rows, originals, facts)
    return path / "sweep.png"
