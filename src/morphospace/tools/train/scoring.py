"""Metrics while a model is trained: what is scored, against which images, and what is said of the best in the end.

Two splits, because a number that something was chosen by is no fair number of what was chosen. What is scored on the
way is set against images held out of training (the *selection*). When the run ends, the best checkpoint is scored once
more with other samples against images that had no say (the *report*): the test split, or the half of the held-out
images that was set aside where there is none. Both stand in the run's `best.json`.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from morphospace.data.batches import held_out
from morphospace.data.pack import Pack
from morphospace.errors import RunError, SettingError, nearest, require
from morphospace.evaluation.results import Result
from morphospace.files import json_text, write_text
from morphospace.models.contract import Model
from morphospace.runs.checkpoints import pointed
from morphospace.runs.folder import RunFolder
from morphospace.runs.report import write_report
from morphospace.runs.run import Run, load
from morphospace.tools.evaluate.evidence import Evidence, Side, chosen
from morphospace.tools.evaluate.extractors import kind_of
from morphospace.tools.evaluate.measure import FILE, keep, metrics_of
from morphospace.tools.evaluate.metric import METRICS, measured, numbers
from morphospace.tools.evaluate.set_metrics import SET_METRICS
from morphospace.training.engine import Engine
from morphospace.training.events import Event, Finished
from morphospace.training.selection import LOSS, Score, Selection
from morphospace.training.settings import TrainingSettings

RAW = "@raw"
FRESH = 1_000_000
"""Between the seed of the scores that a checkpoint is chosen by and that of what is reported of it."""


@dataclass(frozen=True)
class Plan:
    """What is scored on the way.

    Attributes:
        metrics: Names of `METRICS`.
        by: The number that the best checkpoint is chosen by.
        lower: Whether less of it is better.
        settings: Of training: how many samples, in which features, how often.
    """

    metrics: tuple[str, ...]
    by: str
    lower: bool
    settings: TrainingSettings

    @property
    def conditions(self) -> str:
        """What a score hangs on beside the model; empty for the loss, which hangs on the run's own settings."""
        s = self.settings
        return "" if self.by == LOSS else f"{s.metrics_n} samples, features {s.metrics_features or 'usual'}"

    @property
    def selection(self) -> Selection:
        """What chooses the best checkpoint by it."""
        s = self.settings
        return Selection(self.by, self.lower, s.patience, s.min_delta, self.conditions)

    @property
    def words(self) -> str:
        """The plan in a line."""
        s = self.settings
        often = f"every {s.metrics_every_images:,} images" if s.metrics_every_images else "with each checkpoint"
        return f"scores {', '.join(self.metrics)} of {s.metrics_n:,} samples {often}; the best is chosen by {self.by}"


def planned(settings: TrainingSettings) -> Plan | None:
    """Return what training settings ask to be scored, None for nothing; no image is touched yet.

    A metric is named by itself (`pr`) or by one of its numbers (`precision`).

    Raises:
        SettingError: There is no such metric, or nothing can be chosen by it.
    """
    if not settings.scores:
        return None
    by = settings.best
    if by != LOSS:
        check_choice(by)
    metrics = metrics_of(settings.metrics if by == LOSS else (*settings.metrics, by))
    return Plan(metrics, by, by == LOSS or numbers()[by][1] == "lower", settings)


def check_choice(by: str) -> None:
    """Refuse to choose by what is no number, or by one of which neither more nor less is better.

    Raises:
        SettingError: It is such.
    """
    if by in numbers() and numbers()[by][1]:
        return
    known = (LOSS, *(number for number, (_, better) in numbers().items() if better))
    if by in numbers():
        why = f"neither more nor less of it is better; choose by one of {', '.join(known)}"
    elif by in METRICS:
        why = f"is several numbers; choose by one of {', '.join(METRICS[by].better)}"
    else:
        why = f"nothing can be chosen by it{nearest(by, known)}"
    require(False, "best", by, why)


def sides(pack: Pack, fraction: float, n: int) -> tuple[Side, Side]:
    """Return the images that checkpoints are chosen by, and those that the best one is reported on; never the same.

    Args:
        pack: The data.
        fraction: The share of the training images that is held out.
        n: The most of each.

    Raises:
        SettingError: None are held out, or too few to share out.
    """
    _, held = held_out(pack, fraction)
    if held is None:
        raise SettingError(
            "metrics",
            rule=f"are scored against images held out of training, and valid = {fraction:g} holds out none "
            f"of {pack.name}",
            way_out="add --valid 0.05",
        )
    split, taken = held
    rows = np.arange(len(split)) if taken is None else taken
    name = "held-out" if split is pack.split("train") else "valid"
    if "test" in pack.splits:
        test = pack.split("test")
        by = chosen(pack, split, rows, name, n)
        # As many as chose it: distances hang on the counts.
        return by, chosen(pack, test, np.arange(len(test)), "test", len(by.rows))
    few = f"holds out {len(rows)} images of {pack.name}, too few to halve, and there is no test split"
    require(len(rows) >= 4, "valid", fraction, few, "hold out more")
    by = chosen(pack, split, rows[::2], f"{name}, one half", n)
    return by, chosen(pack, split, rows[1::2], f"{name}, other half", n)


@dataclass
class Scorer:
    """Scores a model in training, leaves it as it was, and reports on the best checkpoint in the end.

    It is a listener, and its `score` is what the engine asks.

    Attributes:
        plan: What is scored.
        folder: The run's.
        model: The model in training.
        pack: The data.
        parts: The caller's own networks.
        device: Where everything is computed.
        say: Takes one line at a time for the user.
        engine: The engine, once there is one.
    """

    plan: Plan
    folder: RunFolder
    model: Model
    pack: Pack
    parts: dict[str, nn.Module]
    device: torch.device
    say: Callable[[str], None] = lambda line: None
    engine: Engine | None = None
    by: Side = field(init=False)
    report: Side = field(init=False)

    def __post_init__(self) -> None:
        s = self.plan.settings
        self.by, self.report = sides(self.pack, self.folder.configuration.data.valid, s.metrics_n)
        try:
            kind_of(s.metrics_features, self.pack)
        except SettingError as error:
            raise SettingError(f"metrics_{error.name}", error.value, error.rule, error.way_out) from error
        run = self.run_of(self.folder.checkpoints / "0", raw=False)
        for side in (self.by, self.report):
            for name in self.plan.metrics:
                reason = METRICS[name].refusal(self.evidence(run, side, s.seed))
                require(not reason, "metrics", name, reason)

    def prepare(self) -> None:
        """Make what every scoring needs, once: a network for the features, and those of the real images."""
        if any(name in SET_METRICS for name in self.plan.metrics):
            run = self.run_of(self.folder.checkpoints / "0", raw=False)
            _ = self.evidence(run, self.by, 0, say=self.say).real_features

    def run_of(self, checkpoint: Path, *, raw: bool, model: Model | None = None) -> Run:
        """Return the model as it stands, or another one, as a run that the metrics can ask."""
        run = Run(self.folder, model or self.model, checkpoint, raw)
        run.with_images(self.pack)
        return run

    def evidence(
        self, run: Run, side: Side, seed: int, *, null: bool = False, say: Callable[[str], None] = lambda line: None
    ) -> Evidence:
        """Return what the metrics take their numbers from."""
        s, device = self.plan.settings, str(self.device)
        return Evidence(
            side, None, run, s.metrics_n, seed, s.metrics_features, null=null, prior="auto", device=device, say=say
        )

    def measured(self, evidence: Evidence) -> dict[str, Result]:
        """Return every number of the plan by its short name; samples are from the prior that `sample` would take."""
        return {
            number: result
            for name in self.plan.metrics
            for number, result in zip(METRICS[name].better, measured(name, evidence))
        }

    # -- on the way --------------------------------------------------------------------------------------------

    def score(self) -> dict[str, Score]:
        """Score the model with the weights that `sample` would take, and with its own where averages are kept."""
        assert self.engine is not None
        both = (False, True) if self.engine.ema else (False,)
        return {f"{name}{RAW if raw else ''}": s for raw in both for name, s in self.scored(raw).items()}

    def scored(self, raw: bool) -> dict[str, Score]:
        """Score the model with one set of weights. The samples are those of every scoring, so that scores compare."""
        engine, prior = self.engine, self.model.prior
        assert engine is not None
        devices = [self.device] if self.device.type == "cuda" else []
        # A prior fitted on the way is of this moment's codes: it is kept neither on disk nor with the model.
        self.folder.checkpoints.mkdir(exist_ok=True)
        # Named as an unfinished checkpoint is, which the next start removes if this one is killed.
        place = TemporaryDirectory(prefix=".partial-", dir=self.folder.checkpoints)
        with place, engine.judging(raw=raw), torch.random.fork_rng(devices=devices):
            run = self.run_of(Path(place.name) / f"{engine.clock.images:012d}", raw=raw)
            found = self.measured(self.evidence(run, self.by, self.plan.settings.seed + FRESH))
            self.model.prior = prior
        return {name: Score(result.value, _margin(result)) for name, result in found.items()}

    # -- in the end --------------------------------------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        """Report on the best checkpoint when a run has ended, unless it was interrupted."""
        if isinstance(event, Finished) and event.stopped not in signal.Signals.__members__:
            self.conclude()

    def conclude(self) -> None:
        """Score the best checkpoint, the last where there is none, on both splits; leave `best.json`."""
        s, folder = self.plan.settings, self.folder
        best = pointed(folder.checkpoints, "best")
        taken = best or pointed(folder.checkpoints, "last")
        if taken is None:
            return
        assert self.engine is not None
        # A run that was over when another choice was asked for keeps the checkpoint that the former one took.
        anew = self.engine.selection.former if self.engine.selection.best is None else None
        about: dict[str, Any] = {
            "checkpoint": int(taken.name),
            "by": "last" if best is None else self.plan.by if anew is None else anew,
            "better": "lower" if self.plan.lower or anew == LOSS else "higher",
            "metrics": list(self.plan.metrics),
            "n": s.metrics_n,
            "features": s.metrics_features,
        }
        known: dict[str, Any] = {}
        with contextlib.suppress(RunError):  # a broken one is written again
            known = folder.read_best() or {}
        if {key: known.get(key) for key in about} == about:
            return  # said before: the run was over already
        name = "best" if best else "last"
        self.say(f"scoring the {name} checkpoint, of image {int(taken.name):,}, on the {self.report.name} images")
        model = load(folder.place, checkpoint=taken.name, parts=self.parts or None, device=str(self.device)).model
        run = self.run_of(taken, raw=False, model=model)
        by = self.measured(self.evidence(run, self.by, s.seed + FRESH))
        report = self.measured(self.evidence(run, self.report, s.seed, null=True))
        keep(folder.place / FILE, list(report.values()))
        scores = {key: _as_dicts(found) for key, found in (("selection", by), ("report", report))}
        write_text(folder.best, json_text({**about, **scores}, indent=1) + "\n")
        write_report(folder)


def _as_dicts(found: dict[str, Result]) -> dict[str, Any]:
    return {name: result.as_dict() for name, result in found.items()}


def _margin(result: Result) -> float:
    """Return half the width of a result's interval; the wider side where it was cut at what the number can be."""
    ends: Sequence[float] = [abs(end - result.value) for end in (result.low, result.high) if end is not None]
    return max(ends, default=0.0)
