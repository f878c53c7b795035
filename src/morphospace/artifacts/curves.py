"""Curves of a run's numbers over the images it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphospace.artifacts.files import atomic

__all__ = ["draw_curves", "series"]

Series = dict[str, tuple[list[float], list[float]]]


def series(lines: Sequence[Mapping[str, Any]]) -> Series:
    """Return, by name, (images, values) of every number in the lines of metrics.jsonl."""
    found: Series = {}
    for line in lines:
        for name, value in line.items():
            if "/" in name and isinstance(value, int | float):
                images, values = found.setdefault(name, ([], []))
                images.append(line["images"])
                values.append(value)
    return found


def draw_curves(path: Path, lines: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw one panel a number, training and validation together, into a PNG."""
    from matplotlib.figure import Figure

    found = series(lines)
    panels = list(dict.fromkeys(name.removeprefix("valid/") for name in found))
    if not panels:
        return
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.5 * rows), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for i, name in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        for key, label, style in ((name, "training", "-"), (f"valid/{name}", "held out", "o-")):
            if key in found:
                axes.plot(*found[key], style, label=label, linewidth=1.2, markersize=2.5)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
        if f"valid/{name}" in found:
            axes.legend(fontsize=7)
    figure.supxlabel("images seen", fontsize=9)
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110)
