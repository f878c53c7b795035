"""The work of `compare`: open the runs, group those that differ only in their seed, collect what each shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from morphospace.data.pack import Pack
from morphospace.errors import RunError, require
from morphospace.runs.folder import RunFolder, find_runs
from morphospace.runs.hub import local
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Member
from morphospace.tools.compare.members import Looks, key_of, looks_of, member_of, run_of, settings_of
from morphospace.tools.compare.numbers import Scores, interval_over_seeds, scored, table_of
from morphospace.tools.evaluate.measure import metrics_of

MOST, MOST_RUNS = 12, 120


def check_metrics(metrics: Sequence[str] | str) -> Sequence[str] | None:
    """Return the metrics asked for: no names for the usual ones, None for `none`."""
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    return None if names == ["none"] else metrics_of(names)


def open_runs(runs: Sequence[str | Path]) -> list[RunFolder]:
    """Return the runs' folders, those of a sweep in its place.

    Raises:
        SettingError: If there are fewer than two runs, more rows than a page holds, or a run is there twice.
        RunError: If a folder holds no run.
    """
    folders = [RunFolder.open(path) for path in _paths(runs)]
    require(len(folders) >= 2, "runs", len(folders), "give two or more, or the folder of a sweep")
    rows = max(_rows(folders)) + 1
    rule = f"must be at most {MOST} with different settings (there are {rows}), each with few seeds; name the runs"
    require(rows <= MOST and len(folders) <= MOST_RUNS, "runs", len(folders), rule)
    return folders


def _paths(runs: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for each in map(local, runs):
        if (each / "sweep.json").is_file():
            inside = sorted((p for p in find_runs(each) if p != each), key=_in_order)
            if not inside:
                raise RunError("run", str(each), "a sweep that holds no run yet", "start it first")
            found += inside
        else:
            found.append(each)
    seen = [path.resolve() for path in found]
    for path, real in zip(found, seen):
        require(seen.count(real) == 1, "runs", str(path), "is there twice", "name each run once")
    return found


def _in_order(path: Path) -> list[tuple[float, str]]:
    """Return a key that sorts beta=2 before beta=10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", path.name)
    return [(float(part), "") if i % 2 else (-1.0, part) for i, part in enumerate(parts)]


def _rows(folders: Sequence[RunFolder]) -> list[int]:
    """Return each run's row; runs whose settings, data and start differ only in the seed share one.

    A copy of a run has a row of its own, because it does not show what training again would give.
    """
    keys: list[tuple[str, int]] = []
    copies: Counter[tuple[str, str]] = Counter()
    for folder in folders:
        settings = {name: str(value) for name, value in settings_of(folder).items()}
        seed = settings.pop("seed", "")
        key = str([sorted(settings.items()), folder.facts.get("data_hash"), folder.facts.get("start_from", "")])
        keys.append((key, copies[key, seed]))
        copies[key, seed] += 1
    order = list(dict.fromkeys(keys))
    return [order.index(key) for key in keys]


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Return the folders' names, each with as many parents as make them unique."""
    parts = [folder.path.resolve().parts for folder in folders]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]).lstrip("/") for part in parts]


def _row_names(names: Sequence[str], rows: Sequence[int]) -> tuple[str, ...]:
    """Return a name for each row: that of its run, without the seed where there are several."""
    found: list[str] = []
    for row in range(max(rows) + 1):
        mine = [name for name, of in zip(names, rows) if of == row]
        bare = {re.sub(r"[_-]?seed[=_-]?\d+", "", name) for name in mine}
        short = bare.pop() if len(bare) == 1 else ""
        like = mine[0] if len(mine) == 1 else f"{mine[0]} and its like"
        found.append(short if short and len(mine) > 1 and short not in (*found, *names) else like)
    return tuple(found)


def gather(
    folders: Sequence[RunFolder],
    metrics: Sequence[str] | None,
    *,
    n: int | None = None,
    seed: int = 0,
    features: str = "",
    device: str = "auto",
    data: Pack | None = None,
    names: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Collect the comparison of any number of runs; the arguments are those of `compare`.

    `metrics` is what `check_metrics` returns; `data` is what the runs were trained on, if it was passed as an object;
    `names` are the runs' names, those of their folders when empty.
    """
    rows, names = _rows(folders), names or _names(folders)
    members: list[Member] = []
    scores: list[Scores] = []
    originals: dict[str, tuple[np.ndarray, str]] = {}
    for folder, name, row in zip(folders, names, rows):
        say(f"reading {name}")
        run = run_of(folder, device, data)
        pictured = len(folders) <= MOST or row not in [member.row for member in members]
        looks = looks_of(run, seed) if pictured else Looks("", "", None, "")
        key = "" if looks.originals is None else key_of(looks.originals[0])
        if looks.originals is not None:
            originals.setdefault(key, looks.originals)
        members.append(member_of(folder, run, name, row, looks, key, pictured))
        scores.append(scored(run, metrics, n=n, seed=seed, features=features, device=device, say=say))
    sampling, left_out = table_of(members, scores)
    row_names = _row_names(names, rows)
    training = interval_over_seeds(sampling, rows, row_names)
    warnings = (*_warnings(folders, members), *left_out)
    return Comparison(tuple(members), row_names, warnings, sampling, training, originals, seed)


def _warnings(folders: Sequence[RunFolder], members: Sequence[Member]) -> list[str]:
    """Return what makes the runs hard to compare: other data, or training that did not finish."""
    found = []
    if len({member.data_hash for member in members}) > 1:
        data = "; ".join(dict.fromkeys(m.about_data for m in members))
        found.append(
            f"Not all runs were trained on the same data ({data}): distances, errors and likelihoods of "
            "different images do not compare, and numbers in different features have columns of their own."
        )
    for folder, member in zip(folders, members):
        goal, cost = folder.configuration.training, member.cost
        done = cost.images >= goal.images if goal.images else cost.epochs >= goal.epochs - 1e-3
        if not done:
            found.append(f"{member.name} is not trained to its end: {cost.images:,} images, {cost.epochs:.3g} passes.")
    return found
