"""Curves of a run's numbers over the images it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphospace.artifacts.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    panels = list(dict.fromkeys(name.removeprefix("valid/").removesuffix("@raw") for name in found))
    if not panels:
        return
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.5 * rows), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for i, name in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw_panel(axes, name, found)
    figure.supxlabel("images seen", fontsize=9)
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110)


def _draw_panel(axes: Axes, name: str, found: Series) -> None:
    """Draw what there is of one number: in training and on held-out images, or by the weights it was scored with."""
    first = ("averaged weights", "o-") if name.startswith("metric/") else ("training", "-")
    lines = {name: first, f"{name}@raw": ("own weights", "o-"), f"valid/{name}": ("held out", "o-")}
    there = [key for key in lines if key in found]
    for key in there:
        label, style = lines[key]
        axes.plot(*found[key], style, label=label, linewidth=1.2, markersize=2.5)
    axes.set_title(name, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    if there != [name]:
        axes.legend(fontsize=7)
