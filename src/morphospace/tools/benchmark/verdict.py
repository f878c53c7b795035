"""Who wins and who loses by each number, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from morphospace.evaluation.differences import LEVEL, apart_from_best
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Contrast, Measure, Table
from morphospace.tools.compare.tables import chance_text, texts_of
from morphospace.tools.evaluate.metric import METRICS, numbers

MANY = 8  # names, more of which a sentence does not list


@dataclass(frozen=True)
class Verdict:
    """Who is best and who is worst by one number.

    Attributes:
        measure: The number's name.
        main: Whether it is the number that was asked for.
        best: Name of the model with the best number.
        worst: Name of that with the worst.
        beaten: The models that are behind the best by more than chance, with p < .05 (`chances_of`).
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
    chances = chances_of(measure, best, others)
    beaten = [row for row in others if chances.get(row, 1.0) < LEVEL]
    left = [row for row in others if row not in (*beaten, *equal)]
    cell, over = measure.cells[best], ""
    if table.spread == "training":  # an interval of a few seeds of one model says less than the pooled test
        cell, over = replace(cell, low=cell.least, high=cell.most), f" over {seeds} seeds"
    value, interval = texts_of(cell)
    name, rows = measure.name.partition("[")[0], table.rows
    if len(equal) == len(others):
        return Verdict(measure.name, main, rows[best], rows[best], (), (), f"{name}: all have {value}.")
    lines = [f"{name}: {rows[best]} is best with {value}" + (f" ({interval}{over})" if interval else "") + "."]
    lines += [f"So {'is' if len(equal) == 1 else 'are'} {', '.join(rows[row] for row in equal)}."] if equal else []
    if beaten:
        lines.append(f"It beats {_listed(rows, beaten, chances, others)}.")
    if left:
        lines.append(f"Its lead on {_listed(rows, left, chances, others)} may be chance.")
    if len(ordered) > 2:
        lines.append(f"Worst is {rows[ordered[-1]]} with {texts_of(measure.cells[ordered[-1]])[0]}.")
    named = (tuple(rows[row] for row in beaten), tuple(rows[row] for row in left))
    return Verdict(measure.name, main, rows[best], rows[ordered[-1]], *named, " ".join(lines))


def chances_of(measure: Measure, best: int, others: Sequence[int]) -> Mapping[int, float]:
    """Return for each other row how often chance alone would put it so far from the best one, where that is known.

    Several seeds of each: by `apart_from_best`, of logarithms where all numbers are positive and better lower, because
    a distance ten times as large also varies about ten times as much. One seed of each: by the tests of two rows,
    corrected for the comparisons of all pairs (Holm), because the best of many is not a row chosen beforehand.
    """
    of_seeds = {}
    for row in (best, *others):
        cell = measure.cells[row]
        if cell.each is not None and cell.over == "seeds" and len(cell.each) > 1:
            of_seeds[row] = cell.each
    if best in of_seeds:
        groups = list(of_seeds.values())
        positive = measure.better == "lower" and all(bool((group > 0).all()) for group in groups)
        found = dict(zip(of_seeds, apart_from_best(groups, 0, ratios=positive), strict=True))
        del found[best]
    else:
        contrasts = {row: _between(measure, best, row) for row in others}
        found = {row: math.nan if one is None else one.corrected for row, one in contrasts.items()}
    return {row: p for row, p in found.items() if not math.isnan(p)}


def _listed(rows: Sequence[str], some: Sequence[int], chances: Mapping[int, float], others: Sequence[int]) -> str:
    """Return some of the other rows by name with their chances; how many of them, where that would be a long list."""
    if len(some) > MANY:
        return f"{'all' if len(some) == len(others) else len(some)} of the {len(others)} others"
    return ", ".join(f"{rows[row]} ({chance_text(chances[row]) if row in chances else 'no interval'})" for row in some)


def better_of(measure: Measure, one: Contrast) -> int:
    """Return the row of a difference that has the better number."""
    return one.second if (one.found.value < 0) == (measure.better == "lower") else one.first


def judged(table: Table) -> list[Measure]:
    """Return the measures that are better lower or higher, and no run's own log."""
    return [measure for measure in table.measures if measure.leader is not None and not measure.logged]


def _between(measure: Measure, first: int, second: int) -> Contrast | None:
    return measure.contrasts.get((min(first, second), max(first, second)))
