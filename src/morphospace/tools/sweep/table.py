"""The table and the picture of a sweep's runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from morphospace.evaluation.intervals import mean_over
from morphospace.evaluation.roughness import roughness_of
from morphospace.files import as_cell, write_text
from morphospace.pictures.lettering import cut, text_width, write
from morphospace.pictures.sheet import PAD, as_picture, save_picture
from morphospace.runs.folder import last_of, last_values

CELL = 56  # pixels of an image's longer side, about
WIDEST = 240  # pixels of a label


@dataclass(frozen=True)
class Row:
    """The last numbers of one run of a sweep.

    Attributes:
        name: Its folder.
        settings: The settings that vary.
        images: Images seen.
        seconds: Time in training steps.
        valid_loss: Its own objective on held-out images; None without any.
        mse: Mean squared error per pixel of reconstructions, of held-out images where there are any.
        kl: KL in nats per image, likewise.
        roughness: How unsteady the loss of each player was, see `evaluation.roughness`.
        note: Why it ended early, if it did.
    """

    name: str
    settings: Mapping[str, Any]
    images: int
    seconds: float
    valid_loss: float | None
    mse: float | None
    kl: float | None
    roughness: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def varied(self) -> dict[str, Any]:
        """Return the settings that vary; a list is joined by +."""
        return {k: "+".join(map(str, v)) if isinstance(v, tuple) else v for k, v in self.settings.items()}

    def values(self) -> dict[str, Any]:
        """Return the row's values by column."""
        numbers = {"images": self.images, "seconds": round(self.seconds, 1), "held-out loss": self.valid_loss}
        rough = {f"roughness {player}": value for player, value in self.roughness.items()}
        return {**self.varied(), **numbers, "mse": self.mse, "kl": self.kl, **rough, "note": self.note}


def row_of(name: str, settings: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], note: str = "") -> Row:
    """Return a run's row from the lines of its metrics.jsonl."""
    last, (mse, _), (kl, _) = last_values(lines), last_of(lines, "mse"), last_of(lines, "kl")
    images, seconds = int(last.get("images", 0)), float(last.get("seconds", 0.0))
    return Row(name, settings, images, seconds, last.get("valid/loss"), mse, kl, roughness_of(lines), note)


@dataclass(frozen=True)
class SweepTable:
    """The rows of a sweep, one a run, as one table; columns without any value are left out."""

    rows: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        """The headings, notes last."""
        filled = [name for row in self.rows for name, value in row.values().items() if value not in (None, "")]
        order = dict.fromkeys(name for row in self.rows for name in row.values() if name != "note")
        return [name for name in [*order, "note"] if name in set(filled)]

    def cells(self) -> list[list[str]]:
        """Return the rows as text, numbers to five digits."""
        return [[_text(row.values().get(name)) for name in self.columns] for row in self.rows]

    def deviation_over_seeds(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows of mean and standard deviation over seeds; nothing where there is only one seed.

        The last column names the run with the lowest held-out loss, of those that ended as they should.
        """
        groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
        for row in self.rows:
            varied = tuple((k, _text(v)) for k, v in row.varied().items() if k != "seed")
            groups.setdefault(varied, []).append(row)
        if not any(len(group) > 1 for group in groups.values()):
            return [], []
        varied_names = [name for name in self.rows[0].settings if name != "seed"]
        skipped = {*varied_names, "seed", "images", "seconds", "note"}
        numbers = [name for name in self.columns if name not in skipped]
        rows = []
        judged = "held-out loss" in numbers
        for varied, group in groups.items():
            each = [[row.values()[n] for row in group if row.values().get(n) is not None] for n in numbers]
            losses = {row.name: row.valid_loss for row in group if row.valid_loss is not None and not row.note}
            best = [min(losses, key=losses.__getitem__, default="")] if judged else []
            rows.append([*(value for _, value in varied), str(len(group)), *map(_mean_and_deviation, each), *best])
        return [*varied_names, "seeds", *numbers, *(["run with the lowest held-out loss"] if judged else [])], rows

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write sweep.csv, in full precision, and sweep.md; return their paths."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["run", *self.columns], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        lines = [{"run": row.name, **row.values()} for row in self.rows]
        writer.writerows({name: as_cell(value) for name, value in line.items()} for line in lines)
        write_text(folder / "sweep.csv", text.getvalue())
        parts = [_markdown(self.columns, self.cells())]
        headings, rows = self.deviation_over_seeds()
        if rows:
            parts.append("Mean and standard deviation over seeds:\n\n" + _markdown(headings, rows))
        parts.append(EXPLAINED)
        write_text(folder / "sweep.md", "\n".join(parts))
        return folder / "sweep.csv", folder / "sweep.md"


EXPLAINED = """All numbers are the last ones of each run. The held-out loss is each run's own objective: compare it only
where the settings that vary do not change the objective. The kl is in nats per image. The mse is per pixel, in the
model's own range: values from -1 to 1 make it four times as large as values from 0 to 1. Roughness is the standard
deviation of a loss's changes from report to report, divided by its fall: lower means smoother training.
"""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _mean_and_deviation(values: Sequence[float]) -> str:
    if not values:
        return ""
    found = mean_over(values)
    return f"{found.mean:.5g}" + ("" if found.deviation is None else f" ± {found.deviation:.2g}")


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


@dataclass(frozen=True)
class Drawn:
    """A row of the picture.

    Attributes:
        label: The text to its left, a line for each setting.
        samples: uint8 (N, H, W, C); None where there are none.
        rebuilt: Reconstructions, of the same images in each row; None where the model has no encoder.
    """

    label: str
    samples: np.ndarray | None
    rebuilt: np.ndarray | None


def save_panels(path: Path, rows: Sequence[Drawn], originals: np.ndarray | None, facts: Mapping[str, Any]) -> None:
    """Write a picture with a row for each run: its label, its samples, and its reconstructions below the originals."""
    rows = [replace(row, label="\n".join(cut(line, WIDEST) for line in row.label.splitlines())) for row in rows]
    several = [*rows, *([] if originals is None else [Drawn("originals", None, originals)])]
    sides = [side for row in several for side in (row.samples, row.rebuilt) if side is not None]
    if not sides:
        return
    height = max(CELL, max(side.shape[1] for side in sides))
    width = max(round(height * side.shape[2] / side.shape[1]) for side in sides)
    left = 12 + max(int(text_width(line)) for row in several for line in row.label.splitlines())
    counts = [
        max((len(side) for side in column if side is not None), default=0)
        for column in ([row.samples for row in several], [row.rebuilt for row in several])
    ]
    second = left + counts[0] * (width + PAD) + 16
    ordered = [*([] if originals is None else [several[-1]]), *rows]
    tall = [max(height, 17 * len(row.label.splitlines())) + 2 * PAD for row in ordered]
    sheet = Image.new("RGB", (second + counts[1] * (width + PAD), 24 + sum(tall)), "white")
    pen, top = ImageDraw.Draw(sheet), 24
    for x, count, word in ((left, counts[0], "samples"), (second, counts[1], "reconstructions")):
        if count:
            write(pen, (x, 4), word, "black")
    for row, step in zip(ordered, tall):
        for i, line in enumerate(row.label.splitlines()):
            write(pen, (6, top + 2 + i * 17), line, "black")
        for x, side in ((left, row.samples), (second, row.rebuilt)):
            for i, image in enumerate([] if side is None else side):
                sheet.paste(_cell(image, width, height), (x + i * (width + PAD), top))
        top += step
    save_picture(path, sheet, facts)


def _cell(image: np.ndarray, width: int, height: int) -> Image.Image:
    """Return an image (H, W, C) at the size of a cell, enlarged by repeating pixels."""
    return as_picture(image).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
