"""Arithmetic in a run's space: sums of points and directions, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.latent.directions import Direction
from morphospace.latent.formula import Part, parse_formula
from morphospace.runs.pick import decoded, start_of
from morphospace.runs.run import Run, loaded
from morphospace.tools.directions.attribute import directions_of


@dataclass(frozen=True)
class Combined:
    """What a formula comes to.

    Attributes:
        code: (D,).
        image: uint8 (H, W, C), decoded from it.
        terms: The formula's parts in words, with their weights.
        images: uint8 (P, H, W, C): each point of the formula, decoded; for a direction, the sum up to it.
        directions: The directions that the formula names.
    """

    code: Tensor
    image: np.ndarray
    terms: tuple[str, ...]
    images: np.ndarray
    directions: tuple[Direction, ...]


def combine(run: Run | str | Path, formula: str, *, by: str = "means", images: int = 10_000, seed: int = 0) -> Combined:
    """Decode a sum of points and directions: `12 - 30 + seed:7`, `12 + 2*Smiling`.

    Args:
        run: A loaded run or its folder.
        formula: See `latent.formula.parse_formula`. A direction is as long as in `attribute`.
        by: How directions are found, see `direction`.
        images: From how many training images.
        seed: Which.

    Raises:
        SettingError: The formula cannot be read, or names what is not there.
    """
    run = loaded(run)
    parts = parse_formula(formula)
    is_point = [part.point or Path(part.name.partition("#")[0]).is_file() for part in parts]
    names = list(dict.fromkeys(part.name for part, point in zip(parts, is_point) if not point))
    starts = {part.name: start_of(run, part.name) for part, point in zip(parts, is_point) if point}
    require(bool(starts), "formula", formula, "names directions only", "begin at a point, for instance 12 + 2*Smiling")
    found = {d.name: d for d in (directions_of(run, names, by, (), images, seed) if names else [])}
    vectors = [starts[p.name][0] if point else found[p.name].vector for p, point in zip(parts, is_point)]
    weights = torch.tensor([part.weight for part in parts], dtype=torch.float64)
    terms = torch.stack(vectors).double() * weights[:, None]
    code = terms.sum(0)
    # Beside the result: each point as it is, and for a direction what the sum has come to with it.
    shown = [v.double() if point else so_far for v, point, so_far in zip(vectors, is_point, terms.cumsum(0))]
    condition = next(iter(starts.values()))[1]  # all are drawn as the first point would be
    several = torch.stack([*shown, code]).float()
    drawn = decoded(run, several, condition)
    words = tuple(_term(part, starts[part.name][2] if point else part.name) for part, point in zip(parts, is_point))
    return Combined(code.float(), drawn[-1], words, drawn[:-1], tuple(found.values()))


def _term(part: Part, words: str) -> str:
    sign, size = "-" if part.weight < 0 else "+", abs(part.weight)
    return f"{sign} {words}" if size == 1 else f"{sign} {size:g} × {words}"
