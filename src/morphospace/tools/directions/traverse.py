"""Traversals: a run's latent dimensions or components, one walk each, from one point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from morphospace.errors import require
from morphospace.latent.components import Moments
from morphospace.latent.traverse import changes, walked
from morphospace.models.priors import Normal
from morphospace.runs.codes import encodes
from morphospace.runs.pick import decoded, start_of, told_for
from morphospace.runs.run import Run, loaded
from morphospace.tools.directions.components import MOST, found_with_moments, moments_of


@dataclass(frozen=True)
class Traversal:
    """Walks along one direction after the other from one point, those that change most.

    Attributes:
        names: Of the rows: `dim 3` or `component 1`.
        changes: Mean squared change of a pixel along each row, pixels in [0, 1].
        strengths: Of the columns, in standard deviations.
        images: uint8 (rows * columns, H, W, C), row by row.
        start: Where it starts, in words.
        every: The changes of all directions by number from 0, those left out too.
        condition: What a conditional model was told, in words; empty for the others.
    """

    names: tuple[str, ...]
    changes: tuple[float, ...]
    strengths: tuple[float, ...]
    images: np.ndarray
    start: str
    every: Mapping[int, float]
    condition: str = ""


def traverse(
    run: Run | str | Path,
    *,
    by: str = "dims",
    rows: int = 10,
    range: float = 3.0,
    steps: int = 9,
    image: int | str | Path | None = None,
    images: int = 5000,
    space: str = "auto",
    seed: int = 0,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> Traversal:
    """Walk along each latent dimension, or component, from one point; keep those that change the image most.

    A step of one is a standard deviation: of the prior where a dimension has N(0, 1), else of the codes.

    Args:
        run: A loaded run or its folder.
        by: `dims` or `components`.
        rows: How many directions to keep; all where there are fewer.
        range: How far to walk to either side, in standard deviations.
        steps: Images in a row.
        image: Where to start, as for `picked`; the mean of the codes when None, or seed 0 where there is no encoder.
        images: From how many the components, or the mean, are found.
        space: Whose components, see `components`.
        seed: Which images or draws they are found from.
        label: The class that a conditional model is told.
        attributes: The attributes that a conditional model is told.
    """
    run = loaded(run)
    require(by in ("dims", "components"), "by", by, "must be 'dims' or 'components'")
    require(rows >= 1, "rows", rows, "must be at least 1")
    require(2 <= steps <= MOST, "steps", steps, f"must be from 2 to {MOST}")
    require(0 < range < float("inf"), "range", range, "must be above 0")
    condition, told = told_for(run, label, attributes)
    moments: Moments | None = None
    if by == "components":
        found, moments, _ = found_with_moments(run, images, space, seed, condition)
        directions = found.directions * found.spread[:, None]
    elif not isinstance(run.model.prior, Normal):
        moments = moments_of(run, images, seed)
        directions = moments.variance.sqrt().diag()
    else:
        directions = torch.eye(run.model.latent_dim, dtype=torch.float64)
    if image is None and encodes(run):
        moments = moments or moments_of(run, images, seed)
        start, words = moments.mean, "the mean of the codes"
    else:
        start, condition, words, told = start_of(run, "seed:0" if image is None else image, label, attributes)
    strengths = torch.linspace(-range, range, steps, dtype=torch.float64)
    every = changes(lambda codes: decoded(run, codes, condition), start.double(), directions, strengths)
    kept = every[:rows]
    codes = torch.cat([walked(start.double(), directions[change.index], strengths) for change in kept])
    names = tuple(f"dim {c.index}" if by == "dims" else f"component {c.index + 1}" for c in kept)
    sizes = tuple(change.size for change in kept)
    drawn = decoded(run, codes, condition)
    by_number = {change.index: change.size for change in sorted(every, key=lambda change: change.index)}
    return Traversal(names, sizes, tuple(strengths.tolist()), drawn, words, by_number, told)
