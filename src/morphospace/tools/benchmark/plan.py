"""A benchmark to carry out: what was asked for, the runs, their lengths, and what is kept of it in plan.json."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morphospace.data.datasets import from_dataset
from morphospace.data.pack import Pack
from morphospace.data.settings import DataSettings
from morphospace.errors import RunError, SettingError, require
from morphospace.files import check_folder, json_text, read_text, write_text
from morphospace.records import fields_of
from morphospace.tools.benchmark.entries import Entry, entries_of
from morphospace.tools.benchmark.speed import TEMPORARY, speed_of
from morphospace.tools.compare.gather import check_metrics
from morphospace.tools.evaluate.metric import METRICS, numbers
from morphospace.tools.sweep.grid import Combination
from morphospace.tools.train.job import Hooks, Job
from morphospace.tools.train.scoring import check_choice, sides
from morphospace.training.selection import LOSS

PLAN = "plan.json"
MAY_GROW = ("models", "seeds", "compare", "compare_n")  # what another call for the same folder may change
ROUNDS = 2  # speeds are measured in turn, so often, and the best is taken: that of the machine at rest
LATE = 10**12  # images between two scorings: only the end is scored


@dataclass
class Plan:
    """A benchmark to carry out.

    Attributes:
        path: Its folder.
        given: Images that Python handed over, as a pack.
        entries: The models with their trials.
        asked: What was asked for, as plain values; kept in plan.json.
        wanted: The metrics of the page.
        speeds: Images/s by `Entry.pace`, once they are measured.
    """

    path: Path
    given: Pack | None
    entries: list[Entry]
    asked: dict[str, Any]
    wanted: Sequence[str]
    speeds: dict[str, float] = field(default_factory=dict)

    @property
    def tuned(self) -> bool:
        """Whether there is anything to choose."""
        return bool(self.asked["trials"] > 1)

    def common(self) -> dict[str, Any]:
        """Return the settings of every run that say how it is scored and reported."""
        a = self.asked
        scored = {
            "metrics": (a["by"],),
            "best": a["by"],
            "metrics_every_images": LATE,
            "metrics_features": a["features"],
        }
        return {**scored, "report_images": None, "checkpoint_images": None, "patience": 0}

    def length(self, entry: Entry, varied: Mapping[str, Any]) -> int:
        """Return how many images a run sees in the minutes, at the speed that was measured."""
        return max(1, round(self.speeds[entry.pace(varied)] * 60 * self.asked["minutes"]))

    def _run(self, entry: Entry, kind: str, count: int, varied: Mapping[str, Any], seed: int) -> Combination:
        more = {**self.common(), "seed": seed, "images": self.length(entry, varied)}
        return entry.run(kind, count, varied, **more)

    def trial_runs(self) -> list[tuple[int, Combination]]:
        """Return the tuning trials with the numbers of their models, one trial of each model after the other."""
        most = max(len(entry.trials) for entry in self.entries) if self.tuned else 0
        return [
            (index, self._run(entry, "trial", count + 1, entry.trials[count], self.asked["seed"]))
            for count in range(most)
            for index, entry in enumerate(self.entries)
            if count < len(entry.trials)
        ]

    def final_run(self, entry: Entry, varied: Mapping[str, Any], count: int) -> Combination:
        """Return a run with the chosen settings; its seed is none of the trials'."""
        seed = self.asked["seed"] + count
        return self._run(entry, "seed", seed, varied, seed)

    @property
    def runs(self) -> int:
        """How many runs there are."""
        trials = sum(len(entry.trials) for entry in self.entries) if self.tuned else 0
        return trials + int(self.asked["seeds"]) * len(self.entries)

    def seconds(self) -> float:
        """Return how long all runs are trained."""
        return float(60 * self.asked["minutes"] * self.runs)

    def seconds_left(self) -> float:
        """Return how long the runs are still trained that the folder does not hold to their end."""
        done = sum((folder.parent / "best.json").is_file() for folder in self.path.glob("*/run.toml"))
        return max(0.0, self.seconds() - done * 60 * self.asked["minutes"])

    # -- what is kept ----------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Write plan.json, which makes the folder this benchmark's; keep the speeds of the one that is there.

        Raises:
            RunError: If the folder holds something else, or a benchmark that was asked for otherwise.
        """
        self.check_folder()
        self.write()

    def check_folder(self) -> None:
        """Read the speeds from the plan.json that is there, if any.

        Raises:
            RunError: If the folder holds something else, or a benchmark that was asked for otherwise.
        """
        file = check_folder(str(self.path), holds=PLAN, what="benchmark") / PLAN
        if file.is_file():
            try:
                known = json.loads(read_text(file))
                before, self.speeds = dict(known["asked"]), {str(k): float(v) for k, v in known["speeds"].items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                raise RunError("out", str(self.path), f"{PLAN} there cannot be read", "choose another path") from None
            differ = [
                f"{name} = {self.asked[name]!r}, was {before.get(name)!r}"
                for name in self.asked
                if name not in MAY_GROW and before.get(name) != self.asked[name]
            ]
            rule = f"holds a benchmark that was asked for otherwise ({'; '.join(differ)})"
            if differ:
                raise RunError("out", str(self.path), rule, "choose another path, or ask as before")

    def write(self) -> None:
        """Write plan.json."""
        write_text(self.path / PLAN, json_text({"asked": self.asked, "speeds": self.speeds}, indent=1) + "\n")

    def measure_speeds(self, hooks: Hooks) -> None:
        """Measure the speeds that are not known yet, all models in turn, and keep them in plan.json.

        Args:
            hooks: Who hears of images being packed, before the first measurement.
        """
        say = hooks.say or (lambda line: None)
        for left in self.path.glob(f"{TEMPORARY}*"):  # by a kill
            shutil.rmtree(left, ignore_errors=True)
        paces = {entry.pace(varied): (entry, varied) for entry in self.entries for varied in entry.trials}
        missing = {key: of for key, of in paces.items() if key not in self.speeds}
        found: dict[str, float] = {}
        for number_of_round in range(ROUNDS):
            for key, (entry, varied) in missing.items():
                say(f"measuring the speed of {key} ({number_of_round + 1} of {ROUNDS})")
                run = entry.run("speed", 0, varied, seed=self.asked["seed"])
                try:
                    rate = speed_of(run, self.path, recipe=entry.recipe, data=self.given, hooks=hooks)
                except SettingError as error:
                    if not varied:
                        raise
                    say(f"{key} cannot be trained: {error}")
                    rate = 1.0  # the trial says why
                found[key] = max(found.get(key, 0.0), rate)
                hooks = Hooks(say=lambda line: None)  # the others find the images packed
        self.speeds |= found
        self.write()


def planned(
    models: Sequence[str],
    data: Any,
    out: str | Path,
    *,
    by: str,
    compare: Sequence[str] | str,
    settings: Mapping[str, Any],
    **asked: Any,
) -> Plan:
    """Check what is asked for, and return it with every model's trials; nothing is touched yet.

    Raises:
        SettingError: If there is something that is not, or cannot be.
    """
    require(by != LOSS, "by", by, "is another number for each model", "choose a metric, as fd")
    try:
        check_choice(by)
    except SettingError as error:
        raise SettingError("by", error.value, error.rule, error.way_out) from error
    metrics = check_metrics(compare)
    require(metrics is not None, "compare", compare, "a benchmark compares metrics", "name them, or leave it out")
    usual = [name for name, metric in METRICS.items() if metric.usual]
    wanted = list(dict.fromkeys([*(metrics or usual), numbers()[by][0]]))
    known = fields_of(DataSettings)
    for name, value in settings.items():
        why = "is no data setting, which all models share; put a model's own into a TOML file, and name that"
        require(name in known, name, value, why)
    given = None if data is None or isinstance(data, str) else data if isinstance(data, Pack) else from_dataset(data)
    own = {**settings, **({"data": data} if isinstance(data, str) else {})}
    search = list(asked["search"])
    tried = {name: asked[name] for name in ("device", "trials", "tuning", "seed")}
    entries = entries_of(models, own, search=search, **tried)
    shown = {"data": own.get("data", "digits") if given is None else given.name, "settings": dict(own), "by": by}
    lists = {"models": list(models), "search": search, "compare": wanted}
    plain = json.loads(json_text({**asked, **shown, **lists}))
    return Plan(Path(out), given, entries, plain, wanted)


def rehearsed(plan: Plan) -> dict[str, str]:
    """Return which trials cannot be trained, and why, by their names; nothing is packed or written.

    Raises:
        MorphospaceError: If a model cannot be trained with its own settings.
    """
    refused: dict[str, str] = {}
    for entry in plan.entries:
        for count, varied in enumerate(entry.trials):
            run = entry.run("trial", count + 1, varied, **{**plan.common(), "epochs": 1.0})
            try:
                job = Job(run.configuration, plan.path / run.name, None, {}, Hooks())
                pack = plan.given or job.rehearse(None, new=True)
                if pack is not None:
                    sides(pack, run.configuration.data.valid, run.configuration.training.metrics_n)
            except SettingError as error:
                if not varied:
                    raise
                refused[run.name] = str(error)
    return refused
