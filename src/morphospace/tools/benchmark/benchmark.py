"""Train a list of models with equal minutes and equally many tuning trials, and set them side by side."""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from morphospace.data.pack import Pack
from morphospace.errors import SettingError, TrainingError, require
from morphospace.files import json_text, write_text
from morphospace.ranges import Seed, check_ranges
from morphospace.runs.folder import RunFolder
from morphospace.runs.images import KEEP_GB
from morphospace.tools.benchmark.entries import SPACE, Entry, Minutes, Seeds, Trials, Tuning
from morphospace.tools.benchmark.plan import ROUNDS, Plan, planned, rehearsed
from morphospace.tools.benchmark.verdict import Verdict, better_of, judged, verdicts_of
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.gather import gather
from morphospace.tools.compare.page import page_of
from morphospace.tools.compare.tables import chance_text, json_data, latex_of, number
from morphospace.tools.evaluate.metric import numbers
from morphospace.tools.sweep.grid import Combination, words_of
from morphospace.tools.sweep.sweep import announced, carried_out
from morphospace.tools.tool import Answer, Asked, Displayable, Summary, Table, status
from morphospace.tools.train.train import Hooks

UNEQUAL = 0.1  # of the minutes asked for, from which a run's own are pointed out
MANY = 12  # models, from more of which the page does not list each two
FEW = 100  # held-out images, by fewer of which a trial is chosen largely by chance
FILES = {"page": "html", "latex": "tex", "json": "json"}


@dataclass(frozen=True)
class Trial:
    """One run, finished.

    Attributes:
        run: Name of its folder.
        settings: What it varied.
        score: By which the best is chosen, on held-out images; None where it has none.
        images: Images seen.
        seconds: Time in training steps.
        note: Why it ended early.
    """

    run: str
    settings: Mapping[str, Any]
    score: float | None
    images: int
    seconds: float
    note: str = ""

    @property
    def words(self) -> str:
        """The settings in words."""
        return ", ".join(words_of(self.settings)) or "its own settings"


@dataclass
class Standing:
    """What a benchmark has of one model.

    Attributes:
        entry: The model.
        trials: Its tuning trials, in order.
        chosen: The settings of the best of them; None where none finished.
        finals: Its runs with these settings, a seed each.
    """

    entry: Entry
    trials: list[Trial] = field(default_factory=list)
    chosen: Mapping[str, Any] | None = None
    finals: list[Trial] = field(default_factory=list)

    def minutes(self, runs: Sequence[Trial]) -> float:
        """Return how many minutes some of its runs took."""
        return sum(run.seconds for run in runs) / 60


@dataclass(frozen=True)
class Benchmark(Displayable):
    """The result of a benchmark.

    Attributes:
        path: Its folder.
        asked: What was asked for.
        by: Name of the number that the trials are chosen and the models ranked by.
        held_out: How many held-out images the trials were chosen on.
        standings: The models.
        comparison: Their last runs side by side; None where the benchmark was stopped.
        verdicts: Who wins by which number, the one asked for first.
        stopped: Name of the signal that ended it early; empty where none did.
    """

    path: Path
    asked: Mapping[str, Any]
    by: str
    held_out: int
    standings: tuple[Standing, ...]
    comparison: Comparison | None = None
    verdicts: tuple[Verdict, ...] = ()
    stopped: str = ""

    @property
    def files(self) -> dict[str, Path]:
        """The files of a benchmark that is over."""
        return {name: self.path / f"benchmark.{end}" for name, end in FILES.items()}

    @property
    def json_data(self) -> dict[str, Any]:
        """Everything but the pictures as plain values."""
        models = [
            {
                "model": each.entry.name,
                "recipe": each.entry.recipe,
                "search_space": each.entry.combinations,
                "trials": [vars(trial) for trial in each.trials],
                "tuning_minutes": each.minutes(each.trials),
                "chosen": None if each.chosen is None else dict(each.chosen),
                "runs": [vars(run) for run in each.finals],
                "training_minutes": each.minutes(each.finals),
            }
            for each in self.standings
        ]
        data = {"out": str(self.path), "asked": dict(self.asked), "by": self.by, "held_out": self.held_out}
        data |= {"models": models, "stopped": self.stopped}
        data["verdicts"] = [vars(verdict) for verdict in self.verdicts]
        return data | {"comparison": None if self.comparison is None else json_data(self.comparison)}

    def show(self, asked: Asked) -> Answer:
        """Return the models in a table, who wins, and the files."""
        code = 128 + signal.Signals[self.stopped] if self.stopped else 0
        files = {name: None if self.stopped else str(path) for name, path in self.files.items()}
        return Answer({**self.json_data, "files": files}, *self.summary(), code)

    def summary(self) -> Summary:
        """Return the models in a table, who wins, and the files."""
        if self.stopped:
            return Summary(["stopped; run the same command again to go on"])
        headings = ["model", "chosen settings", f"{self.by} of the trials", "tuning", "training"]
        rows = [
            [
                each.entry.name,
                "none: no trial finished" if each.chosen is None else ", ".join(words_of(each.chosen)) or "its own",
                ", ".join("none" if t.score is None else number(t.score) for t in each.trials) or "none",
                f"{each.minutes(each.trials):.3g} min",
                f"{len(each.finals)} x {each.minutes(each.finals) / max(1, len(each.finals)):.3g} min",
            ]
            for each in self.standings
        ]
        lines = [verdict.text for verdict in self.verdicts]
        lines += [f"note: {line}" for line in (() if self.comparison is None else self.comparison.warnings)]
        lines += [f"{name:16}{path}" for name, path in self.files.items()]
        return Summary(lines, Table(headings, rows))


def benchmark(
    models: Sequence[str],
    data: str | Pack | Any = None,
    out: str | Path = "benchmark",
    *,
    minutes: Minutes = 5.0,
    trials: Trials = 4,
    seeds: Seeds = 3,
    search: Sequence[str] = SPACE,
    tuning: Tuning = "random",
    by: str = "fd",
    compare: Sequence[str] | str = (),
    compare_n: int | None = None,
    features: str = "",
    seed: Seed = 0,
    device: str = "auto",
    say: Callable[[str], None] = status,
    progress: Callable[[int, int], None] | None = None,
    each: Callable[[Combination, int, int], Hooks] | None = None,
    keep_data: float = KEEP_GB,
    **settings: Any,
) -> Benchmark:
    """Train models with equal minutes and equally many tuning trials, and write a page, a LaTeX table and a JSON.

    For each model, `trials` settings are tried with one seed; the one with the best score on held-out images is trained
    again with `seeds` other seeds, and these runs are compared on test images. All runs train for the same `minutes`.
    Minutes are counted in training steps: packing, validating, saving and scoring are left out. Before the first run,
    the speed of each model is measured, and from then on the lengths of its runs in images are fixed. So the same call
    continues a benchmark that was stopped or killed, and it ends with the same weights and numbers.

    Args:
        models: Names of models, recipes or TOML files, with settings of your own. Two or more.
        data: As for `train`. All models see the same images in the same shape, with the same images held out.
        out: Folder of the runs, the page (benchmark.html), the table (benchmark.tex) and the numbers (benchmark.json).
        minutes: Of training, for each run.
        trials: Settings to try for each model, its own among them; 0 or 1 tries nothing.
        seeds: Runs of each model with the chosen settings.
        search: Which settings to try: `lr=x0.3,x1,x3` multiplies the model's own, `batch_size=32,64` sets it. A model
            that has no such setting leaves it out.
        tuning: Draw the trials from the search space at random, or take the whole grid.
        by: The number that trials are chosen and models ranked by, as for `evaluate`.
        compare: Which metrics the page compares, as for `evaluate`; the usual ones when empty.
        compare_n: How many samples they are measured on, as for `evaluate`.
        features: What distances are measured in, as for `evaluate`.
        seed: Of the trials; the last runs have the seeds after it.
        device: Where to compute.
        say: Takes one line at a time for the user.
        progress: Called with (images done, images in all) while they are packed.
        each: Called before each run with the run, its number from 1 and how many there are; returns its hooks.
        keep_data: As for `train`.
        settings: Data settings that all models share, by their plain names (`size="32"`, `valid=0.2`).

    Raises:
        SettingError: If a setting breaks a rule, or a model cannot be trained on the data.
        RunError: If `out` holds something else, or a benchmark that was asked for otherwise.
    """
    check_ranges(benchmark, locals())
    world = int(os.environ.get("WORLD_SIZE", "1"))
    require(world == 1, "WORLD_SIZE", world, "a benchmark is one process", "start it without torchrun")
    asked = {"minutes": minutes, "trials": trials, "seeds": seeds, "search": list(search), "tuning": tuning}
    asked |= {"compare_n": compare_n, "features": features, "seed": seed, "device": device}
    plan = planned(models, data, out, by=by, compare=compare, settings=settings, **asked)
    rehearsed(plan)
    plan.mark()
    plan.measure_speeds(Hooks(say=say, progress=progress))
    standings = [Standing(entry) for entry in plan.entries]
    numbers_of_runs = itertools.count(1)
    lower = numbers()[by][1] == "lower"

    def trained(run: Combination, entry: Entry) -> tuple[Trial, str]:
        number = next(numbers_of_runs)
        hooks = each(run, number, plan.runs) if each else announced(run, number, plan.runs, say)
        return _trained(run, entry, hooks, plan, keep_data)

    def stopped_by(name: str) -> Benchmark:
        return Benchmark(plan.path, plan.asked, by, 0, tuple(standings), stopped=name)

    for index, run in plan.trial_runs():
        trial, stopped = trained(run, standings[index].entry)
        if stopped:
            return stopped_by(stopped)
        standings[index].trials.append(trial)
    for standing in standings:
        standing.chosen = chosen(standing, lower=lower, tuned=plan.tuned)
    for count, standing in itertools.product(range(1, seeds + 1), standings):
        if standing.chosen is None:
            continue
        final, stopped = trained(plan.final_run(standing.entry, standing.chosen, count), standing.entry)
        if stopped:
            return stopped_by(stopped)
        standing.finals.append(final)
    return finished(plan, standings, say)


def finished(plan: Plan, standings: Sequence[Standing], say: Callable[[str], None]) -> Benchmark:
    """Compare the last runs, and write the page, the table and the numbers.

    Raises:
        TrainingError: If fewer than two models have a run to compare.
    """
    there = [standing for standing in standings if standing.finals]
    if len(there) < 2:
        why = "; ".join(f"{s.entry.name}: {s.trials[0].note}" for s in standings if not s.finals and s.trials)
        raise TrainingError("models", rule=f"fewer than two could be trained ({why})", way_out="see their folders")
    a, by = plan.asked, plan.asked["by"]
    folders = [RunFolder.open(plan.path / run.run) for standing in there for run in standing.finals]
    names = [s.entry.name if a["seeds"] == 1 else run.run for s in there for run in s.finals]
    how = {"n": a["compare_n"], "seed": 0, "features": a["features"], "device": a["device"], "data": plan.given}
    comparison = gather(folders, plan.wanted, names=names, say=say, **how)
    best = folders[0].read_best() or {"selection": {}}
    held_out = int(best["selection"].get(by, {}).get("conditions", {}).get("n_real", 0))
    notes = [*_notes(plan, standings, held_out, folders[0]), *comparison.warnings]
    comparison = replace(comparison, warnings=tuple(notes))
    verdicts = verdicts_of(comparison, by, a["seeds"])
    done = Benchmark(plan.path, a, by, held_out, tuple(standings), comparison, verdicts)
    table, conditions = comparison.training or comparison.sampling, _conditions(plan)
    measures, data = judged(table), comparison.members[0].about_data
    pairs = list(itertools.combinations(range(len(table.rows)), 2)) if len(table.rows) <= MANY else []
    functions = {"better_of": better_of, "chance_text": chance_text, "number": number}
    shown = {
        "done": done,
        "data": data,
        "conditions": conditions,
        "rounds": ROUNDS,
        "rows": table.rows,
        "measures": measures,
    }
    page = page_of(comparison, "tools/benchmark/page.html", pairs=pairs, **shown, **functions)
    head = [f"morphospace benchmark: {', '.join(s.entry.name for s in standings)} on {data}", *conditions]
    write_text(done.files["page"], page)
    write_text(done.files["latex"], latex_of([replace(table, measures=tuple(measures))], head))
    write_text(done.files["json"], json_text(done.json_data, indent=1) + "\n")
    return done


def _conditions(plan: Plan) -> list[str]:
    """Return how the models were treated alike, in sentences."""
    a = plan.asked
    tuned = (
        f"{a['trials']} settings of each model were tried ({a['tuning']} from {' '.join(a['search'])}, its own first)"
    )
    chosen = f"{tuned}, and the best {a['by']} on held-out images was trained again"
    seeds = f"with {a['seeds']} other seed{'s' * (a['seeds'] > 1)}"
    return [
        f"Every run saw as many images as its model takes in {a['minutes']:g} minutes, at the speed measured before",
        f"{chosen} {seeds}" if plan.tuned else f"Nothing was tuned: each model has its own settings, {seeds}",
    ]


def _notes(plan: Plan, standings: Sequence[Standing], held_out: int, folder: RunFolder) -> list[str]:
    """Return what makes the models hard to compare."""
    notes, uneven = [], []
    for each in standings:
        if each.chosen is None:
            notes.append(f"{each.entry.name} has no numbers: no trial finished ({each.trials[0].note}).")
        if plan.tuned and len(each.trials) < plan.asked["trials"]:
            few = f"{len(each.trials)} of {plan.asked['trials']} trials: its search space has no more settings"
            notes.append(f"{each.entry.name} had {few}.")
        ended = [run for run in (*each.trials, *each.finals) if run.note]
        notes += [f"{run.run} ended early: {run.note}." for run in ended]
        minutes = [run.seconds / 60 for run in (*each.trials, *each.finals) if not run.note]
        asked = plan.asked["minutes"]
        if minutes and max(abs(took / asked - 1) for took in minutes) > UNEQUAL:
            uneven.append(f"{min(minutes):.3g} to {max(minutes):.3g} of {each.entry.name}")
    if uneven:
        why = "other work changed the machine's speed after it was measured"
        notes.append(f"The runs took {', '.join(uneven)} instead of {plan.asked['minutes']:g} minutes: {why}.")
    if plan.tuned and held_out < FEW:
        way_out = "hold out more, as --valid 0.2"
        notes.append(f"Only {held_out} held-out images chose the settings, which is largely chance; {way_out}.")
    best = folder.read_best()
    split = "" if best is None else str(next(iter(best["report"].values()))["conditions"]["split"])
    if plan.tuned and "half" in split:
        notes.append("There is no test split: half of the images that the numbers are of also chose the settings.")
    return notes


def chosen(standing: Standing, *, lower: bool, tuned: bool) -> Mapping[str, Any] | None:
    """Return the settings of the trial with the best score; the model's own where nothing was tried."""
    if not tuned:
        return standing.entry.trials[0]
    scored = [t for t in standing.trials if t.score is not None and math.isfinite(t.score)]
    if not scored:
        return None
    return min(scored, key=lambda t: (t.score or 0.0) * (1 if lower else -1)).settings


def _trained(run: Combination, entry: Entry, hooks: Hooks, plan: Plan, keep_data: float) -> tuple[Trial, str]:
    """Train a run to its end; return it, and the signal that stopped it."""
    folder = plan.path / run.name
    how: dict[str, Any] = {"recipe": entry.recipe, "start_from": None, "new_layers": False, "keep_data": keep_data}
    try:
        row, stopped = carried_out(run, folder, hooks, data=plan.given, **how)
    except SettingError as error:
        return Trial(run.name, run.settings, None, 0, 0.0, str(error)), ""
    best = RunFolder.open(folder).read_best() if not row.note else None
    score = None if best is None else best["selection"][plan.asked["by"]]["value"]
    return Trial(run.name, run.settings, score, row.images, row.seconds, row.note), stopped
