"""The plot and the samples of `bench quality`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from morphospace.files import atomic
from morphospace.pictures.sheet import annotated_grid

Curves = Sequence[Sequence[tuple[float, float]]]
OURS, OTHERS = ("#1f5fa8", "#0f9d8a"), ("#c0504d", "#d98b2b")


def draw_curves(
    path: Path, panels: Mapping[str, Mapping[str, Curves]], ours: Collection[str], clock: str, target: float
):
    """Draw distance over minutes on logarithmic axes, a panel for each group: the mean of all seeds, and each seed.

    Args:
        path: A PNG or SVG file.
        panels: By title, the curves of each contestant, one for each seed: (minutes, FD).
        ours: Names whose lines are solid.
        clock: What the minutes are.
        target: A distance to mark by a line.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(5.2 * len(panels) + 0.4, 4.2), layout="constrained")
    for place, (title, group) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), place)
        colours = {True: iter(OURS), False: iter(OTHERS)}
        for name, curves in group.items():
            colour, style = next(colours[name in ours]), "-" if name in ours else "--"
            length = min(map(len, curves))
            mean = np.mean([curve[:length] for curve in curves], axis=0)
            axes.plot(*mean.T, f"o{style}", color=colour, label=name, linewidth=1.8, markersize=3.5)
            for curve in curves if len(curves) > 1 else ():
                axes.plot(*np.array(curve).T, style, color=colour, linewidth=0.7, alpha=0.4)
        axes.set(xscale="log", yscale="log", xlabel=clock, ylabel="Frechet distance (lower is better)", title=title)
        low, high = axes.get_ylim()
        if low < target < high:
            axes.axhline(target, color="#777777", linewidth=0.9, linestyle=":")
        ticks = [tick for tick in (5, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500) if low <= tick <= high]
        axes.set_yticks(ticks)
        minutes = sorted({round(at, 2) for curves in group.values() for curve in curves for at, _ in curve})
        axes.set_xticks([mark for mark in (0.25, 0.5, 1, 2, 4, 8, 16) if mark <= max(minutes) * 1.1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110, format=path.suffix.lstrip("."))


def draw_samples(path: Path, files: Mapping[str, Path]) -> None:
    """Draw the first samples of each contestant after its last minute, a row for each."""
    rows = {name: np.load(file) for name, file in files.items()}
    if not rows:
        return
    count = min(map(len, rows.values()))
    sheet = annotated_grid(np.concatenate([images[:count] for images in rows.values()]), count, rows=list(rows))
    with atomic(path) as partial:
        sheet.save(partial, format="PNG")
