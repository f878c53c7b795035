"""Curves of several runs on common axes, as SVG that follows the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morphospace.pictures.pages import render
from morphospace.roles import Role, fields_with
from morphospace.runs.configuration import as_written, settings_classes
from morphospace.tools.compare.comparison import Member

# On white and on near-black, in the same hues. The dashes help those who distinguish few colours.
COLOURS = (
    ("#0069a8", "#5cb8f0"),
    ("#c24e00", "#ff9d57"),
    ("#00755a", "#42cfa6"),
    ("#a03c86", "#ea9fd0"),
    ("#806400", "#e3c33a"),
    ("#454c55", "#c5ccd4"),
)
DASHES = ("", "7 3", "2 2.5", "9 3 2 3", "12 4", "5 2 1 2 1 2", "1 4")  # as many as share no divisor with the colours
SCORED = "metric"  # prefix of the scores during training in a log
WIDE, TALL, LEFT, BELOW, EDGE = 440, 270, 52, 36, 14
AXES = {"images": "images seen", "seconds": "seconds of training"}

# The settings that a term depends on. Terms with equal settings share an axis.
TERMS: dict[str, tuple[str, ...]] = {
    "kl": ("reduction", "kl_reduction"),
    "mse": ("signed",),
    "reconstruction": ("likelihood", "variance", "sigma", "dequantise", "binarise", "signed", "reduction"),
    "bits_per_dim": ("likelihood", "dequantise", "binarise"),
}


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes:
        row: The run's row, which sets its colour and dashes.
        held_out: Whether it is of held-out images.
        images: Images seen, (N,).
        seconds: Seconds of training, (N,).
        values: (N,).
    """

    row: int
    held_out: bool
    images: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """Curves of one number that can be compared between its runs.

    Attributes:
        title: Its name.
        curves: The lines.
        runs: How many runs they are of.
    """

    title: str
    curves: tuple[Curve, ...]
    runs: int


def meaning(member: Member, name: str) -> tuple[str, tuple[Any, ...]]:
    """Return the title of a logged number, and a key: two numbers share an axis if their keys are equal.

    Args:
        member: The run.
        name: As in its log, `vae/kl` or `loss` of held-out images, without `valid/`.
    """
    player, _, term = name.rpartition("/")
    if term in TERMS:
        kind = {key: member.settings.get(key) for key in TERMS[term]}
        likelihood = {"mse": "", "kl": ""}.get(term, str(kind.get("likelihood") or ""))
        shape = member.shape if term == "reconstruction" else ()
        return f"{term} ({likelihood})" if likelihood else term, (term, *kind.values(), shape)
    if term == "loss":
        # A loss compares between runs whose settings differ in how well the objective is met, not in what it is.
        fields = [name for cls in settings_classes(member.model).values() for name in fields_with(cls, Role.OBJECTIVE)]
        kept = {key: member.settings.get(key) for key in ("model", *map(as_written, fields))}
        return name if player else "held-out loss", (name, member.shape, tuple(sorted(map(str, kept.items()))))
    if player == SCORED:
        by = (member.data_hash, *(member.settings.get(key) for key in ("valid", "metrics_n", "metrics_features")))
        return name, (name, *by)
    return name, (name, member.adversary or member.model)


def panels(members: Sequence[Member]) -> tuple[list[Panel], list[str]]:
    """Return a panel for every number that two rows have, and the names of the numbers that only one has.

    Where all runs share a row, two runs are enough.
    """
    found: dict[tuple[Any, ...], tuple[str, dict[tuple[int, bool], Curve]]] = {}
    for index, member in enumerate(members):
        for line in member.log:
            for name, value in line.items():
                if "/" not in name or not isinstance(value, int | float):
                    continue
                title, key = meaning(member, name.removeprefix("valid/"))
                curves = found.setdefault(key, (title, {}))[1]
                held_out = name.startswith(("valid/", f"{SCORED}/"))
                curve = curves.setdefault((index, held_out), Curve(member.row, held_out))
                curve.images.append(line["images"])
                curve.seconds.append(line.get("seconds", 0.0))
                curve.values.append(float(value))
    made, alone, rows = [], [], {member.row for member in members}
    for title, curves in found.values():
        runs = len({index for index, _ in curves})
        if runs > 1 and (len({curve.row for curve in curves.values()}) > 1 or len(rows) == 1):
            made.append(Panel(title, tuple(curves.values()), runs))
        else:
            alone.append(title)
    return made, list(dict.fromkeys(alone))


def dash_of(row: int) -> str:
    """Return the dashes of a row's lines as SVG writes them; empty for none."""
    return DASHES[row % len(DASHES)]


def draw_panel(panel: Panel, against: str, names: Sequence[str]) -> str:
    """Draw a panel as inline SVG in the page's own colours: its lines are of class `k0`, `k1`, ...

    All but the highest and the lowest hundredth of the values fit in the frame, so that outliers do not flatten it.

    Args:
        panel: What to draw.
        against: `images` or `seconds`.
        names: Name of each row, shown when one points at a line.
    """
    from matplotlib.ticker import MaxNLocator

    values = np.concatenate([curve.values for curve in panel.curves])
    ends = np.quantile(values[np.isfinite(values)], [0.01, 0.99]) if np.isfinite(values).any() else np.array([0, 1])
    low, high = (float(end) for end in ends)
    margin = 0.06 * (high - low) or max(abs(high), 1e-9) * 0.05
    low, high = low - margin, high + margin
    right = max(max(getattr(curve, against)) for curve in panel.curves) or 1.0
    x_ticks = [tick for tick in MaxNLocator(5).tick_values(0, right) if 0 <= tick <= right]
    y_ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]

    def x(value: float) -> str:
        return f"{LEFT + value / right * (WIDE - LEFT - EDGE):.1f}"

    def y(value: float) -> str:  # outliers end a little outside of the frame, which cuts them off
        return f"{min(max(TALL - BELOW - (value - low) / (high - low) * (TALL - BELOW - EDGE), -99), 999):.1f}"

    def placed(curve: Curve) -> list[tuple[str, str]]:
        pairs = zip(getattr(curve, against), curve.values)
        return [(x(when), y(value)) for when, value in pairs if math.isfinite(value)]

    return render(
        "tools/compare/panel.svg",
        panel=panel,
        lines=[(curve, placed(curve)) for curve in panel.curves],
        names=names,
        axis=AXES[against],
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        **{"wide": WIDE, "tall": TALL, "edge": EDGE, "left": LEFT, "right": WIDE - EDGE, "bottom": TALL - BELOW},
        **{"x": x, "y": y, "colours": len(COLOURS), "counted": counted, "dash_of": dash_of, "short": _short},
    )


def _short(value: float) -> float:
    """Return a tick without rounding errors in its last digits."""
    return float(f"{value:.6g}") + 0.0


def counted(value: float) -> str:
    """Return a count on an axis, short.

    >>> counted(250000.0), counted(1.5e6), counted(30.0), counted(0.0), counted(2500)
    ('250k', '1.5M', '30', '0', '2,500')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{_short(value):,g}"
