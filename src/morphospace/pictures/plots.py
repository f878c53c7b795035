"""Plots by matplotlib: a run's numbers over the images it has seen, and the variance that components explain."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from morphospace.files import atomic
from morphospace.pictures.lettering import for_plots

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


def panel_of(name: str) -> str:
    """Return the panel that a number is drawn in: a critic's judgements of real and generated images share one.

    >>> panel_of("valid/vae/loss"), panel_of("critic/score_fake")
    ('vae/loss', 'critic/score')
    """
    return name.removeprefix("valid/").removesuffix("@raw").removesuffix("_real").removesuffix("_fake")


def draw_curves(path: Path, lines: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw one panel a number, training and validation together, into a PNG."""
    from matplotlib.figure import Figure

    found = series(lines)
    panels = list(dict.fromkeys(map(panel_of, found)))
    if not panels:
        return
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    wide, high = 3.4 * columns + 0.2, 2.4 * rows + 0.7  # inches
    figure = Figure(figsize=(wide, high))
    # Placed by hand: a layout that measures every label takes longer than all the drawing.
    figure.subplots_adjust(0.6 / wide, 0.6 / high, 1 - 0.15 / wide, 1 - 0.65 / high, 0.6 / 2.8, 0.5 / 1.9)
    (title,), families = for_plots([title])
    figure.suptitle(title, fontsize=10, fontfamily=families)
    for i, name in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        _draw_panel(axes, name, found)
    figure.supxlabel("images seen", fontsize=9, y=0.12 / high)
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110)


def _draw_panel(axes: Axes, name: str, found: Series) -> None:
    """Draw one number in training and on held-out images, or a metric with averaged and own weights.

    Judgements that are probabilities get a line at .5, where the critic cannot tell real from generated.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator

    first = ("averaged weights", "o-") if name.startswith("metric/") else ("training", "-")
    lines = {name: first, f"{name}@raw": ("own weights", "o-"), f"valid/{name}": ("held out", "o-")}
    lines |= {f"{name}_real": ("real", "-"), f"{name}_fake": ("generated", "-")}
    there = [key for key in lines if key in found]
    judgements = [value for key in there if key.startswith(f"{name}_") for value in found[key][1]]
    if judgements and min(judgements) >= 0 and max(judgements) <= 1:
        axes.axhline(0.5, color="#777777", linewidth=0.9, linestyle="--")
        axes.set_ylim(-0.02, 1.02)
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


def variance_plot(
    share: Sequence[float], *, dims: int | None, dims_for: float, active: int | None, title: str
) -> Image.Image:
    """Plot the variance that each component explains, and the cumulative sum.

    Args:
        share: Part of the variance, from 0 to 1, the largest first.
        dims: How many together explain `dims_for`; None if not even all do.
        dims_for: From 0 to 1.
        active: Number of active units; None where it is not known.
        title: Over it.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    numbers = np.arange(1, len(share) + 1)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(numbers, np.asarray(share) * 100, width=0.8, color="#7a9cc6", label="each")
    axes.step(numbers, np.cumsum(share) * 100, where="mid", color="#1f3a5f", linewidth=1.6, label="together")
    if dims is not None:
        axes.axhline(dims_for * 100, color="#c0504d", linewidth=0.9, linestyle="--")
        axes.axvline(dims, color="#c0504d", linewidth=0.9, linestyle="--")
        axes.annotate(
            f"{dims} for {dims_for:.0%}", (dims, 4), color="#c0504d", fontsize=9, xytext=(4, 0),
            textcoords="offset points",
        )  # fmt: skip
    if active is not None:
        axes.axvline(active, color="#6a8f4e", linewidth=0.9, linestyle=":", label=f"active units: {active}")
    axes.set(xlabel="component", ylabel="variance explained, %", ylim=(0, 102), xlim=(0.3, len(share) + 0.7))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    (title,), families = for_plots([title])
    axes.set_title(title, fontsize=10, fontfamily=families)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="center right")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format="png")
    return Image.open(drawn).convert("RGB")
