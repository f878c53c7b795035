"""Draw what the categories of a code stand for: codes that differ in the category alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from morphospace.errors import require
from morphospace.models.contract import Recognises
from morphospace.models.recognition import CodeLayout
from morphospace.runs.condition import Condition
from morphospace.runs.pick import decoded, start_of
from morphospace.runs.run import Run


def layout_of(run: Run, by: str, what: str) -> CodeLayout:
    """Return where a model's recognised codes stand.

    Args:
        run: The run.
        by: The flag's value, for the error.
        what: Which of them there must be: `categorical` or `continuous`.

    Raises:
        SettingError: If the model has none.
    """
    model = run.model
    rule = f"{model.settings.name} has no {'categories' if by == 'categories' else 'continuous codes'}"
    layout = model.layout if isinstance(model, Recognises) else CodeLayout(0, 0, 0)
    require(getattr(layout, what) > 0, "by", by, rule, "take dims or components, or an info-gan that has some")
    return layout


@dataclass(frozen=True)
class Categories:
    """Rows of decoded categories.

    Attributes:
        names: Of the rows.
        changes: Mean squared difference of a pixel from the row's mean image, pixels in [0, 1].
        count: Categories, and images in a row.
        images: uint8 (rows * count, H, W, C), row by row.
        start: What the rows start from, in words.
        condition: The condition of a conditional model, in words.
    """

    names: tuple[str, ...]
    changes: tuple[float, ...]
    count: int
    images: np.ndarray
    start: str
    condition: str


def each_category(run: Run, rows: int, image: int | str | Path | None, asked: Condition) -> Categories:
    """Decode each category of a variable with the rest of a code as it is, a row for each variable and code.

    Without an image there are so many rows, of sampled codes; with one, a row for each variable.
    """
    layout = layout_of(run, "categories", "categorical")
    variables, count = layout.variables, layout.categories
    rows = rows if image is None else variables
    starts = [start_of(run, f"seed:{row // variables}" if image is None else image, asked) for row in range(rows)]
    _, condition, place, words = starts[0]
    each = [
        layout.with_category(code.float().expand(count, -1), row % variables, torch.arange(count))
        for row, (code, *_) in enumerate(starts)
    ]
    images = decoded(run, torch.cat(each), condition)
    unit = images.reshape(rows, count, -1).astype(np.float64) / 255
    changes = ((unit - unit.mean(1, keepdims=True)) ** 2).mean((1, 2))
    of = [f", variable {row % variables + 1}" if variables > 1 else "" for row in range(rows)]
    names = tuple(f"{start[2]}{which}" for start, which in zip(starts, of))
    return Categories(
        names, tuple(changes.tolist()), count, images, f"{rows} sampled codes" if image is None else place, words
    )
