"""Curves of a run's numbers over the images it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphospace.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    wide, high = 3.4 * columns + 0.2, 2.4 * rows + 0.7  # inches
    figure = Figure(figsize=(wide, high))
    # Placed by hand: a layout that measures every label takes longer than all the drawing.
    figure.subplots_adjust(0.6 / wide, 0.6 / high, 1 - 0.15 / wide, 1 - 0.65 / high, 0.6 / 2.8, 0.5 / 1.9)
    figure.suptitle(title, fontsize=10)
    for i, name in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw_panel(axes, name, found)
    figure.supxlabel("images seen", fontsize=9, y=0.12 / high)
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110)


def _draw_panel(axes: Axes, name: str, found: Series) -> None:
    """Draw what there is of one number: in training and on held-out images, or by the weights it was scored with."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    first = ("averaged weights", "o-") if name.startswith("metric/") else ("training", "-")
    lines = {name: first, f"{name}@raw": ("own weights", "o-"), f"valid/{name}": ("held out", "o-")}
    there = [key for key in lines if key in found]
    for key in there:
        label, style = lines[key]
        axes.plot(*found[key], style, label=label, linewidth=1.2, markersize=2.5)
    axes.set_title(name, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
    if there != [name]:
        axes.legend(fontsize=7)
