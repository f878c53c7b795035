"""The numbers of a comparison as words, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from morphospace import files
from morphospace.pictures.pages import render
from morphospace.tools import tool
from morphospace.tools.compare import Comparison
from morphospace.tools.compare.comparison import Cell, Contrast, Measure, Table

ARROWS = {"lower": "↓", "higher": "↑", "": ""}
SPREADS = {
    "sampling": "95 % sampling interval: the same model, other samples or images",
    "training": "95 % interval over training seeds, by Student's t",
}
MOST_DECIMALS = 8
MOST_PAIRED = 12  # rows of which all pairs are listed; of more, only those with the first
CSV_COLUMNS = ("run", "measure", "unit", "spread", "value", "low", "high", "n", "least", "most", "note", "conditions")


def number(value: float, half: float | None = None) -> str:
    """Return a number with its significant digits: two of its uncertainty, else four of its own.

    >>> number(12.34567, 0.5), number(0.0134096, 0.00021), number(105.77), number(1234567.0), number(0.0)
    ('12.35', '0.01341', '105.8', '1,234,567', '0')
    """
    if not math.isfinite(value):
        return str(value)
    about = half if half else value
    if not about:
        return "0" if not value else f"{value:.4g}"
    decimals = (1 if half else 3) - math.floor(math.log10(abs(about)))
    if decimals > MOST_DECIMALS or abs(value) >= 1e9:
        return f"{value:.4g}"
    return f"{value:,.{max(0, decimals)}f}"


def texts_of(cell: Cell) -> tuple[str, str]:
    """Return a cell's number, and its interval; both with the same digits."""
    if cell.value is None:
        return "", ""
    if cell.low is None or cell.high is None:
        return number(cell.value), ""
    half = (cell.high - cell.low) / 2
    return number(cell.value, half), f"{number(cell.low, half)} to {number(cell.high, half)}"


def plain(table: Table) -> tool.Table:
    """Return a table for a terminal."""
    headings = ["run", *(f"{m.name} {ARROWS[m.better]}".strip() for m in table.measures)]
    rows = [[name, *(_in_a_line(m.cells[row])[:60] for m in table.measures)] for row, name in enumerate(table.rows)]
    return tool.Table(headings, rows)


def _in_a_line(cell: Cell) -> str:
    value, interval = texts_of(cell)
    return f"{value} ({interval})" if interval else value or ("" if not cell.note else "none")


def null_of(cell: Cell) -> str:
    """Return what two sets of real images score, in words; empty where it was not measured."""
    if cell.null is None:
        return ""
    null = cell.null
    as_many = all(null[key] == cell.conditions.get(key) for key in ("n_real", "n_fake"))
    sizes = "" if as_many else f", {null['n_real']:,} and {null['n_fake']:,}"
    return f"real images{sizes}: {number(null['mean'])} ({number(null['low'])} to {number(null['high'])})"


def plain_nulls(table: Table) -> list[str]:
    """Return lines with what real images score against each other, one for each number that has it."""
    found = {(m.name, null_of(cell)): None for m in table.measures for cell in m.cells if cell.null is not None}
    return [f"{name} of two sets of {words}, and so would a perfect model's samples be" for name, words in found]


# -- differences ---------------------------------------------------------------------------------------------------


def chance_text(p: float) -> str:
    """Return a p value in words.

    >>> chance_text(0.00004), chance_text(0.0312), chance_text(1.0)
    ('p < 0.001', 'p = 0.031', 'p = 1')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def difference_texts(one: Contrast) -> tuple[str, str, str]:
    """Return a difference, its interval, and what it was computed from with its corrected p; as texts."""
    value, low, high, _ = one.found
    if not math.isfinite(value) or not math.isfinite(low):
        return "none", "", "a value that is not finite"
    half = (high - low) / 2
    signed = [("+" if end > 0 else "") + number(end, half) for end in (value, low, high)]
    return signed[0], f"{signed[1]} to {signed[2]}", f"{kind_of(one)}; {chance_text(one.corrected)}"


def kind_of(one: Contrast) -> str:
    """Return in words whether a difference is paired, and over how many numbers."""
    if one.n is None:
        return f"unpaired, from {one.over}"
    if one.paired:
        return f"paired, {one.n[0]:,} images"
    counts = " and ".join(f"{count:,}" for count in one.n)
    return f"unpaired, {counts} {one.over}"


def differences_of(table: Table) -> list[tuple[Measure, list[Contrast]]]:
    """Return each measure with the differences to list: of all pairs of rows, or of many rows those to the first."""
    few = len(table.rows) <= MOST_PAIRED
    listed = [(m, [one for one in m.contrasts.values() if few or one.first == 0]) for m in table.measures]
    return [(measure, found) for measure, found in listed if found]


def plain_differences(table: Table) -> list[str]:
    """Return lines with the differences to the first row, for a terminal; none where nothing compares."""
    rows = [
        [measure.name, table.rows[one.second], *difference_texts(one), "yes" if one.remains else "may be chance"]
        for measure, found in differences_of(table)
        for one in found
        if one.first == 0
    ]
    if not rows:
        return []
    headings = ["measure", f"less {table.rows[0]}", "difference", "95 %", "computed from", "differs"]
    return ["", *tool.Table(headings, rows).plain(), f"differs: {CORRECTED}", ""]


CORRECTED = (
    "p < 0.05 after Holm's correction over all pairs of rows of this number; different numbers are not "
    "corrected for each other"
)


def difference_entries(comparison: Comparison) -> list[dict[str, Any]]:
    """Return every listed difference as plain values."""
    return [
        {
            "measure": measure.name,
            "spread": table.spread,
            "first": table.rows[one.first],
            "second": table.rows[one.second],
            "difference": one.found.value,
            "low": one.found.low,
            "high": one.found.high,
            "paired": one.paired,
            "over": one.over,
            "n": None if one.n is None else list(one.n),
            "p": one.found.p,
            "p_holm": one.corrected,
            "tests": one.tests,
            "remains": one.remains,
        }
        for table in _tables(comparison)
        for measure, found in differences_of(table)
        for one in found
    ]


def conditions_of(measure: Measure) -> str:
    """Return the conditions that all numbers of a measure share, in words."""
    every = [cell.conditions for cell in measure.cells if cell.value is not None]
    shared = {k: v for k, v in (every[0] if every else {}).items() if all(c.get(k) == v for c in every)}
    return ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in shared.items())


def _short(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _tables(comparison: Comparison) -> list[Table]:
    return [table for table in (comparison.sampling, comparison.training) if table is not None]


def entries(comparison: Comparison) -> list[dict[str, Any]]:
    """Return every number with its interval and conditions, by the names of `CSV_COLUMNS`, and the null."""
    return [
        {
            "run": name,
            "measure": measure.name,
            "unit": measure.unit,
            "spread": table.spread,
            "value": cell.value,
            "low": cell.low,
            "high": cell.high,
            "n": cell.n,
            "least": cell.least,
            "most": cell.most,
            "note": cell.note,
            "conditions": dict(cell.conditions),
            "null": None if cell.null is None else dict(cell.null),
        }
        for table in _tables(comparison)
        for measure in table.measures
        for name, cell in zip(table.rows, measure.cells)
    ]


def csv_text(comparison: Comparison) -> str:
    """Return the numbers in full precision, a line each; conditions as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in entries(comparison):
        row = {**entry, "conditions": files.json_text(entry["conditions"], sort_keys=True)}
        writer.writerow({name: files.as_cell(value) for name, value in row.items()})
    return text.getvalue()


def json_data(comparison: Comparison) -> dict[str, Any]:
    """Return everything except pictures and curves as plain values."""
    runs = [
        {
            "run": member.name,
            "row": comparison.rows[member.row],
            "model": member.model,
            "data": member.data,
            "data_hash": member.data_hash,
            "shape": list(member.shape),
            "checkpoint": member.taken,
            "parameters": None if member.cost.parameters is None else dict(member.cost.parameters),
            "images": member.cost.images,
            "seconds": member.cost.seconds,
            "images_per_second": member.cost.rate,
            "precision": member.cost.precision,
        }
        for member in comparison.members
    ]
    data = {"runs": runs, "differ": comparison.differ, "warnings": list(comparison.warnings)}
    numbers = {"numbers": entries(comparison), "differences": difference_entries(comparison)}
    return {**data, **numbers, "seed": comparison.seed}


def json_text(comparison: Comparison) -> str:
    """Return `json_data` as text."""
    return files.json_text(json_data(comparison), indent=1) + "\n"


# -- LaTeX ---------------------------------------------------------------------------------------------------------

ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_"},
}  # fmt: skip
LATEX_ARROWS = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", "": ""}


def escaped(text: str) -> str:
    r"""Return text with LaTeX's special characters escaped.

    >>> print(escaped("beta=1_seed=0 & 5 %"))
    beta=1\_seed=0 \& 5 \%
    """
    return "".join(ESCAPES.get(letter, letter) for letter in text)


def latex_text(comparison: Comparison) -> str:
    """Return the tables for a document that uses booktabs; bold is what `Measure.best` says."""
    return latex_of(_tables(comparison))


def latex_of(tables: Sequence[Table], head: Sequence[str] = ()) -> str:
    """Return some tables for a document that uses booktabs, below lines of comment."""
    how = {"spreads": SPREADS, "arrows": LATEX_ARROWS, "escaped": escaped, "cell_of": _latex}
    return render("tools/compare/tables.tex", tables=tables, head=[" ".join(line.split()) for line in head], **how)


def _latex(cell: Cell) -> tuple[str, str, str]:
    """Return a number and the ends of its interval, with commas that LaTeX does not space."""
    value, interval = (text.replace(",", "{,}") for text in texts_of(cell))
    low, _, high = interval.partition(" to ")
    return value, low, high
