"""Train a grid of settings, one run after another, and set the runs side by side."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morphospace.data.datasets import from_dataset
from morphospace.data.pack import Pack
from morphospace.errors import RunError, SettingError, TrainingError, require
from morphospace.files import write_text
from morphospace.models.contract import Encodes
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import Run, load
from morphospace.tools.compare import save_comparison
from morphospace.tools.compare.gather import MOST, check_metrics, gather
from morphospace.tools.sample import Reconstructions, reconstruct, sample
from morphospace.tools.sweep.grid import Combination, combinations
from morphospace.tools.sweep.table import Drawn, Row, SweepTable, row_of, save_panels
from morphospace.tools.train.train import Hooks, train
from morphospace.training.events import Event, Finished

SHOWN = 8
SIGNALS = ("SIGINT", "SIGTERM")


@dataclass(frozen=True)
class Sweep:
    """What a sweep left.

    Attributes:
        path: Its folder.
        table: A row a run, as far as it came.
        csv: The table in full precision.
        page: The table to read.
        picture: Samples of every run, and reconstructions beside them; None where no run could draw.
        comparison: The runs side by side, compare.html; None where there are not two, or it was stopped.
        stopped: Name of the signal that ended it early.
    """

    path: Path
    table: SweepTable
    csv: Path
    page: Path
    picture: Path | None
    comparison: Path | None = None
    stopped: str = ""


def sweep(
    model: str | None = None,
    data: str | Pack | Any = None,
    out: str | Path = "sweep",
    *,
    grid: Mapping[str, Sequence[Any]],
    seeds: int = 1,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    compare: Sequence[str] | str = "none",
    compare_n: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    each: Callable[[Combination, int, int], Hooks] | None = None,
    **settings: Any,
) -> Sweep:
    """Train every combination of a grid as a run of its own, then leave one table, one picture and one page.

    Runs that `out` holds already go on or are done: the same call takes a stopped sweep up again, and more values in
    the grid add runs. A run whose loss is not finite, or whose settings do not go with the data, is noted in the table,
    and the next one is trained.

    Args:
        model: Zoo member; may be left to the recipe.
        data: As for `train`.
        out: Folder of the runs, the table (sweep.csv, sweep.md), the picture (sweep.png) and the page (compare.html).
        grid: Values of each setting that varies, `{"beta": [0.5, 1, 4], "latent_dim": [8, 32]}`.
        seeds: How many seeds for each combination.
        recipe: Under the settings given here.
        start_from: A finished run whose weights all begin with.
        compare: What the page measures of each run, names as for `evaluate`; the usual numbers when empty.
        compare_n: How many samples it measures; as for `evaluate`.
        say: Takes one line at a time for the user while the page is made.
        each: Called before each run with it, its number from 1 and how many there are; returns who listens.
        settings: What all runs share.

    Raises:
        MorphospaceError: A setting, the data or the folder is not as it must be.
    """
    require(compare_n is None or compare_n >= 2, "compare_n", compare_n, "must be at least 2")
    wanted = check_metrics(compare)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    require(world == 1, "WORLD_SIZE", world, "a sweep is one process", "start it without torchrun")
    if isinstance(data, str):
        settings["data"] = data
    given = None if data is None or isinstance(data, str) else data if isinstance(data, Pack) else from_dataset(data)
    runs, path = combinations(model, recipe, grid, seeds, settings), Path(out)
    mark(path, runs[0].configuration.model.name, {name: list(map(str, values)) for name, values in grid.items()}, seeds)
    rows: list[Row] = []
    stopped = ""
    for number, run in enumerate(runs, 1):
        hooks = each(run, number, len(runs)) if each else Hooks()
        try:
            row, stopped = carried_out(run, path / run.name, hooks, data=given, recipe=recipe, start_from=start_from)
        except SettingError as error:
            if number == 1:  # as like as not a mistake that all runs share
                raise
            row = row_of(run.name, run.settings, (), str(error))
        rows.append(row)
        csv, page = SweepTable(rows).save(path)
        if stopped:
            break
    picture = draw(path, runs[: len(rows)], given)
    table = SweepTable(rows)
    if stopped or len(runs) < 2:
        return Sweep(path, table, csv, page, picture, None, stopped)
    side_by_side = compared(path, runs, wanted, n=compare_n, data=given, say=say)
    return Sweep(path, table, csv, page, picture, side_by_side)


def compared(path: Path, runs: Sequence[Combination], wanted: Sequence[str] | None, **how: Any) -> Path:
    """Write compare.html, of the first combinations where there are more than a page holds."""
    combined = [str({name: value for name, value in run.settings.items() if name != "seed"}) for run in runs]
    first = list(dict.fromkeys(combined))[:MOST]
    there = [(path / run.name / "run.toml").is_file() for run in runs]
    kept = [run for run, of, is_there in zip(runs, combined, there, strict=True) if of in first and is_there]
    made = gather([RunFolder.open(path / run.name) for run in kept], wanted, **how)
    if len(kept) < sum(there):
        left = f"The first {MOST} combinations alone are here, {len(kept)} of {sum(there)} runs."
        made = replace(made, warnings=(f"{left} The others: `morpho compare RUN RUN ...`.", *made.warnings))
    return save_comparison(made, path / "compare.html")


def mark(path: Path, model: str, grid: Mapping[str, Sequence[str]], seeds: int) -> None:
    """Make the sweep's folder, or find that it is one.

    Raises:
        RunError: It holds something else.
    """
    told = path / "sweep.json"
    if not told.is_file() and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise RunError("out", str(path), "is there already and is not a sweep", "choose another path")
    write_text(told, json.dumps({"model": model, "grid": dict(grid), "seeds": seeds}, indent=1) + "\n")


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
    """Draw a row of samples for each run from the same noise, and reconstructions of the same images beside it."""
    rows: list[Drawn] = []
    originals = None
    for run in runs:
        samples = made = None
        # No checkpoint yet, fewer images than shown, no prior to be had: the row says so by what it lacks.
        with contextlib.suppress(RunError, SettingError):
            loaded = load(path / run.name, checkpoint="last")
            made = rebuilt(loaded, data) if isinstance(loaded.model, Encodes) else None
            samples = sample(loaded, SHOWN)
        if made is not None and originals is None:
            originals = made.originals
        rows.append(Drawn("\n".join(run.words), samples, None if made is None else made.images))
    if all(row.samples is None and row.rebuilt is None for row in rows):
        return None
    facts = {"runs": [run.name for run in runs], "seed": 0, "checkpoint": "last"}
    save_panels(path / "sweep.png", rows, originals, facts)
    return path / "sweep.png"


def rebuilt(run: Run, data: Pack | None) -> Reconstructions | None:
    """Reconstruct as many held-out images as are shown, fewer where there are not so many."""
    for count in (SHOWN, SHOWN // 2, 1):
        with contextlib.suppress(SettingError):
            return reconstruct(run, count, data=data)
    return None
