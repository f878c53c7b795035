"""The numbers of a comparison: of each run, with the spread of sampling, and over seeds, with that of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morphospace.errors import MorphospaceError
from morphospace.evaluation.intervals import mean_over
from morphospace.evaluation.results import Result
from morphospace.runs.folder import last_of, last_values
from morphospace.runs.run import Run
from morphospace.tools.compare.comparison import Cell, Measure, Member, Table
from morphospace.tools.compare.curves import meaning
from morphospace.tools.compare.members import because
from morphospace.tools.evaluate import evaluate

NOT_SHARED = ("interval", "seed", "checkpoint")


@dataclass
class Scores:
    """The scores of a run.

    Attributes:
        results: The numbers.
        refused: By metric, why it has none.
        trouble: Why it has no numbers at all; empty where it may have some.
    """

    results: tuple[Result, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    trouble: str = ""


def scored(
    run: Run | str, metrics: Sequence[str] | None, *, say: Callable[[str], None] = lambda line: None, **how: Any
) -> Scores:
    """Evaluate a run by every metric that it allows, and note the reason for those that it refuses.

    Args:
        run: The run, or why there is none.
        metrics: Names; the usual ones when empty, nothing when None.
        say: Takes one line at a time for the user.
        how: Further arguments of `evaluate`.
    """
    if isinstance(run, str):
        return Scores(trouble=run)
    if metrics is None:
        return Scores()
    wanted = list(metrics)
    refused: dict[str, str] = {}
    while True:
        try:
            done = evaluate(run, metrics=wanted, say=say, **how)
            return Scores(done.results, {**refused, **done.left_out})
        except MorphospaceError as error:
            name = str(error.value)
            if error.name != "metrics" or name not in wanted:
                return Scores(refused=refused, trouble=because(error))
            # Refused before any work was done: ask again without it.
            refused[name] = because(error)
            wanted.remove(name)
            if not wanted:
                return Scores(refused=refused)


def table_of(members: Sequence[Member], scores: Sequence[Scores]) -> tuple[Table, list[str]]:
    """Return the numbers of each run, evaluation first, then its log; and lines on what could not be measured."""
    columns = {result.name: result for score in scores for result in score.results}
    metrics = list(dict.fromkeys(column.metric for column in columns.values()))
    measures = [
        Measure(
            column.name,
            column.unit,
            tuple(_cell(column, score) for score in scores),
            column.better,
            metric=column.metric,
        )
        for column in sorted(columns.values(), key=lambda column: metrics.index(column.metric))
    ]
    measures += _logged(members)
    missing: dict[str, str] = {}
    for score in scores:
        missing |= {name: reason for name, reason in score.refused.items() if name not in metrics}
    left_out = [
        f"No numbers of {member.name}: {score.trouble}." for member, score in zip(members, scores) if score.trouble
    ]
    left_out += [f"Not measured of any run: {name}, which {reason}." for name, reason in missing.items()]
    return Table("sampling", tuple(member.name for member in members), tuple(measures)), left_out


def _cell(column: Result, score: Scores) -> Cell:
    """Return a run's number in the column of a result, or why it has none there."""
    for result in score.results:
        if result.name == column.name:
            about = dict(result.conditions)
            of = "arcs" if "arcs" in about else "n_real" if "fake_is" in about or "n_fake" not in about else "n_fake"
            more: dict[str, Any] = {"null": result.null, "each": result.each}
            return Cell(result.value, result.low, result.high, about.get(of), conditions=about, **more)
    if score.trouble:
        return Cell(note=score.trouble)
    if any(result.metric == column.metric for result in score.results):
        return Cell(note="measured in another column")
    return Cell(note=score.refused.get(column.metric, "not measured"))


def _logged(members: Sequence[Member]) -> list[Measure]:
    """Return the last numbers of the logs that can be compared between all runs that have them."""
    found = []
    for name, logged in (("held-out loss", "loss"), ("mse", "mse"), ("kl", "kl")):
        values, kinds = [], set()
        for member in members:
            value, held_out = last_of(member.log, logged)
            if logged == "loss":
                value = last_values(member.log).get("valid/loss")
            if value is None:
                values.append(Cell(note="not in its log"))
                continue
            about: dict[str, Any] = {
                "from": "the run's log, at its end",
                "of": "held-out images" if held_out else "training images",
            }
            about |= {"checkpoint": member.cost.images, "data_hash": member.data_hash}
            values.append(Cell(value, conditions=about))
            kinds.add((meaning(member, logged)[1], held_out))
        if len(kinds) == 1:
            found.append(Measure(f"logged {name}", "", tuple(values), "" if name == "kl" else "lower", logged=True))
    return found


def interval_over_seeds(sampling: Table, rows: Sequence[int], names: tuple[str, ...]) -> Table | None:
    """Return the mean, lowest and highest value of each row's runs, with the interval of training again.

    Returns:
        None where no row has two runs.
    """
    if len(set(rows)) == len(rows):
        return None
    measures = [
        Measure(
            measure.name,
            measure.unit,
            tuple(_over([c for c, of in zip(measure.cells, rows) if of == row]) for row in range(len(names))),
            measure.better,
            measure.logged,
            measure.metric,
        )
        for measure in sampling.measures
    ]
    return Table("training", names, tuple(measures))


def _over(cells: Sequence[Cell]) -> Cell:
    """Return the mean of several runs' numbers, with its interval over them."""
    there = [cell for cell in cells if cell.value is not None]
    if not there:
        return Cell(note=cells[0].note)
    values = [cell.value for cell in there if cell.value is not None]
    mean, low, high, _ = mean_over(values)
    first_cell = there[0]
    shared = {
        key: value
        for key, value in first_cell.conditions.items()
        if key not in NOT_SHARED and all(cell.conditions.get(key) == value for cell in there)
    }
    null = first_cell.null if all(cell.null == first_cell.null for cell in there) else None
    if len(values) == 1:
        return Cell(mean, n=1, conditions=shared, note="one seed", null=null)
    more: dict[str, Any] = {"null": null, "each": np.asarray(values), "over": "seeds"}
    return Cell(mean, low, high, len(values), min(values), max(values), shared, **more)
