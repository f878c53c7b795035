"""Phrases that several sources use: what changed, by how much, and which path is closer to the data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from morphospace.cli.reproduce.plan import Found, Said, Table


def fell(f: Found, run: str, term: str, what: str) -> str:
    """Say from where to where a number went in training.

    Args:
        f: What was measured.
        run: The run's folder.
        term: As in its log, `vae/loss`.
        what: Its name at the beginning of the sentence.
    """
    first, last = f.first[run].get(term), f.logs[run].get(term)
    if first is None or last is None:
        return ""
    return f"{what} went from {first:.4g} to {last:.4g}."


def share(explained: Sequence[float], count: int) -> str:
    """Return how much of the variance the first components explain together."""
    return f"{sum(explained[:count]):.0%}"


def more(value: float, than: float) -> str:
    """Return how many times one number is another: `2.1 times`."""
    return f"{value / than:.2g} times" if than else "more than"


def norms(f: Found, step: int, how: str) -> str:
    """Return the smallest norm of the codes on a path, over the square root of their number of dimensions."""
    path = next(path for path in f.answers[step]["paths"] if path["how"] == how)
    return f"{min(path['norms']):.2f}"


def path_verdict(study: Mapping[str, Any]) -> Said:
    """Say whether slerp's midpoints are nearer to the data than those of straight lines, by the answer of a study."""
    rows = {row["name"]: row for row in study["rows"]}
    pairs = list(zip(rows["linear"]["distances"], rows["slerp"]["distances"], strict=True))
    gains = [linear - slerp for linear, slerp in pairs]
    gain, mean = statistics.fmean(gains), statistics.fmean(rows["linear"]["distances"])
    error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    clear = abs(gain) > 2 * error
    word = "nearer to" if gain > 0 else "farther from"
    size = f"{abs(gain) / mean:.1%} {word} the data than those of straight lines"
    sure = "The same pairs were used for both, and seeds agree." if clear else "That is within what seeds differ by."
    return Said(
        f"The midpoints of great circles lie {size}: distance to the nearest of {study['references']:,} training "
        f"images, in {study['features'].partition(':')[0]} features, {study['pairs']} pairs with each of "
        f"{study['seeds']} seeds. {sure} In such features an average image lies near to many others, so nearer is not "
        "always better.",
        holds=(gain > 0) if clear else None,
        table=paths_table(study),
    )


def paths_table(study: Mapping[str, Any]) -> Table:
    """Return the rows of a study of paths."""
    names = {"images": "held-out images", "ends": "decoded ends"}
    rows = [
        [names.get(row["name"], row["name"]), *(_mean(row[key]) for key in ("distances", "norms", "speeds"))]
        for row in study["rows"]
    ]
    return Table(("midpoints of", "distance to data", "norm / sqrt(dimensions)", "change a step"), rows)


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f}" if values else ""
