"""Who wins and who loses by each number, in words."""

from __future__ import annotations

from dataclasses import dataclass

from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Contrast, Measure, Table
from morphospace.tools.compare.tables import chance_text, texts_of
from morphospace.tools.evaluate.metric import METRICS, numbers


@dataclass(frozen=True)
class Verdict:
    """Who is best and who is worst by one number.

    Attributes:
        measure: The number's name.
        main: Whether it is the number that was asked for.
        best: Name of the model with the best number.
        worst: Name of that with the worst.
        beaten: The models whose difference to the best remains after Holm's correction.
        open: Those whose difference may be chance.
        text: The same in sentences.
    """

    measure: str
    main: bool
    best: str
    worst: str
    beaten: tuple[str, ...]
    open: tuple[str, ...]
    text: str


def verdicts_of(comparison: Comparison, by: str, seeds: int) -> tuple[Verdict, ...]:
    """Return a verdict for every number that is better lower or higher, the one asked for first.

    Args:
        comparison: The models side by side.
        by: Short name of the number asked for.
        seeds: How many runs of each model there are.
    """
    table = comparison.training or comparison.sampling
    found = [(measure, measure is main_of(table, by)) for measure in judged(table)]
    ordered = sorted(found, key=lambda one: not one[1])
    return tuple(verdict_of(table, measure, main=main, seeds=seeds) for measure, main in ordered)


def main_of(table: Table, by: str) -> Measure | None:
    """Return the measure of a number's short name; None where no model has it."""
    metric = numbers()[by][0]
    mine = [measure for measure in table.measures if measure.metric == metric]
    place = list(METRICS[metric].better).index(by)
    return mine[place] if place < len(mine) else None


def verdict_of(table: Table, measure: Measure, *, main: bool, seeds: int) -> Verdict:
    """Return who is best and worst by a number."""
    best = measure.leader
    assert best is not None
    sign = 1 if measure.better == "lower" else -1
    there = {row: cell.value for row, cell in enumerate(measure.cells) if cell.value is not None}
    ordered = sorted(there, key=lambda row: sign * there[row])
    others = [row for row in ordered if row != best]
    equal = [row for row in others if there[row] == there[best]]
    beaten = [row for row in others if (one := _between(measure, best, row)) is not None and one.remains]
    left = [row for row in others if row not in (*beaten, *equal)]
    value, interval = texts_of(measure.cells[best])
    over = f" over {seeds} seeds" if table.spread == "training" else ""
    name, rows = measure.name.partition("[")[0], table.rows
    if len(equal) == len(others):
        return Verdict(measure.name, main, rows[best], rows[best], (), (), f"{name}: all have {value}.")
    lines = [f"{name}: {rows[best]} is best with {value}" + (f" ({interval}{over})" if interval else "") + "."]
    lines += [f"So {'is' if len(equal) == 1 else 'are'} {', '.join(rows[row] for row in equal)}."] if equal else []
    if beaten:
        ends = ", ".join(f"{rows[row]} ({_chance(_between(measure, best, row))})" for row in beaten)
        lines.append(f"It beats {ends}.")
    if left:
        ends = ", ".join(f"{rows[row]} ({_chance(_between(measure, best, row))})" for row in left)
        lines.append(f"Its lead on {ends} may be chance.")
    if len(ordered) > 2:
        lines.append(f"Worst is {rows[ordered[-1]]} with {texts_of(measure.cells[ordered[-1]])[0]}.")
    named = (tuple(rows[row] for row in beaten), tuple(rows[row] for row in left))
    return Verdict(measure.name, main, rows[best], rows[ordered[-1]], *named, " ".join(lines))


def better_of(measure: Measure, one: Contrast) -> int:
    """Return the row of a difference that has the better number."""
    return one.second if (one.found.value < 0) == (measure.better == "lower") else one.first


def judged(table: Table) -> list[Measure]:
    """Return the measures that are better lower or higher, and no run's own log."""
    return [measure for measure in table.measures if measure.leader is not None and not measure.logged]


def _between(measure: Measure, first: int, second: int) -> Contrast | None:
    return measure.contrasts.get((min(first, second), max(first, second)))


def _chance(one: Contrast | None) -> str:
    return "no interval" if one is None else chance_text(one.corrected)
