"""Walks: from one point of the space to another, with the pictures on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import DataError, RunError, require
from morphospace.files import write_text
from morphospace.latent.paths import HOWS, along
from morphospace.models.contract import Decodes, Model
from morphospace.runs.codes import chunks, condition_for
from morphospace.runs.pick import Pick, picked
from morphospace.runs.run import Run, loaded

MOST_STEPS = 10_000


@dataclass(frozen=True)
class Pace:
    """How fast images change along a path.

    Attributes:
        mean: Mean over the steps of the root mean square change of a pixel, pixels in [0, 1].
        spread: Standard deviation over the steps; 0 for a path that changes evenly.
    """

    mean: float
    spread: float


@dataclass(frozen=True)
class Walk:
    """A path and what the model draws on it.

    Attributes:
        how: `linear`, `slerp`, `rotate`, or another word for a path from a file.
        codes: float32 (T, D), on the CPU.
        images: uint8 (T, H, W, C).
        pace: How fast the images change, before they are rounded to 8 bits.
        ends: Where it begins and where it ends, in words.
        conditions: What a conditional model is told on the way, (T, K); None for the others.
    """

    how: str
    codes: Tensor
    images: np.ndarray = field(repr=False)
    pace: Pace
    ends: tuple[str, str]
    conditions: Tensor | None = None

    @property
    def norms(self) -> list[float]:
        """The codes' lengths over sqrt(z), the length that draws from N(0, I) have: about 1 for a typical code."""
        return (self.codes.norm(dim=1) / math.sqrt(self.codes.shape[1])).tolist()


def interpolate(
    run: Run | str | Path,
    start: int | str | Path,
    end: int | str | Path,
    *,
    how: str = "slerp",
    steps: int = 10,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> Walk:
    """Walk from one point of a run's space to another.

    Args:
        run: A loaded run or its folder.
        start: `12` for an image that training did not see, `train:12`, `seed:7`, or the path of a picture.
        end: The same.
        how: `linear`, `slerp` or `rotate`.
        steps: Points of the path, both ends among them.
        label: The class that a conditional model draws all the way; each end's own when not given, mixed between.
        attributes: The same for attributes.

    Raises:
        SettingError: No such path, end or number of steps.
        RunError: An end is an image and the model cannot encode.
    """
    check_path(how, steps)
    run = loaded(run)
    first, last = (told_pick(run, what, label, attributes) for what in (start, end))
    codes = along(first.code, last.code, steps, how)
    conditions = None
    if first.condition is not None and last.condition is not None:
        conditions = along(first.condition, last.condition, steps, "linear")
    return walk_along(run, codes, how, (first.words, last.words), conditions)


def check_path(how: str, steps: int) -> None:
    """Refuse a path or a number of steps that there is none of."""
    require(how in HOWS, "how", how, f"must be one of {', '.join(HOWS)}")
    require(2 <= steps <= MOST_STEPS, "steps", steps, f"must be from 2, the two ends, to {MOST_STEPS}")


def told_pick(
    run: Run, what: int | str | Path, label: int | str | None = None, attributes: Mapping[str, float] | None = None
) -> Pick:
    """Return the point of the space that someone means, with what a conditional model is told of it.

    Raises:
        SettingError: Nothing says what the model is to be told: a seed or a picture without label or attributes.
    """
    asked = None
    if label is not None or attributes is not None:
        told = condition_for(run.model, 1, label, attributes)
        asked = None if told is None else told[0]
    pick = picked(run, what, condition=asked)
    known = run.model.conditioning
    if known is not None:
        way = "label" if known.kind == "label" else "attributes"
        rule = f"{run.model.settings.name} must be told what {str(what)!r} is of; give {way}, or an image by its number"
        require(pick.condition is not None, way, None, rule)
    return pick


@torch.no_grad()
def walk_along(run: Run, codes: Tensor, how: str, ends: tuple[str, str], conditions: Tensor | None = None) -> Walk:
    """Draw what lies on a path of codes (T, D)."""
    model = run.model
    assert isinstance(model, Decodes)
    codes = codes.float().cpu()
    images, units = [], []
    for parts in chunks(codes, conditions):
        drawn = model.decode(*(part.to(model.device, model.dtype) for part in parts))
        images.append(model.to_uint8(drawn).numpy())
        units.append(unit_range(model, drawn))
    return Walk(how, codes, np.concatenate(images), pace(torch.cat(units)), ends, conditions)


def unit_range(model: Model, images: Tensor) -> Tensor:
    """Return images in the model's range as float32 in [0, 1] on the CPU."""
    images = images.float().cpu()
    return ((images + 1) * 0.5 if model.signed else images).clamp(0, 1)


def pace(images: Tensor) -> Pace:
    """Return how fast images (T, ...) in [0, 1] change: mean and spread of the root mean square change a step."""
    changes = (images[1:] - images[:-1]).flatten(1).double().square().mean(1).sqrt()
    return Pace(float(changes.mean()), float(changes.std(correction=0)))


def save_walk(path: Path, run: Run, walk: Walk) -> None:
    """Write a path as JSON that `follow`, and other tools, read back: float32 codes to the last bit."""
    told = None if walk.conditions is None else walk.conditions.tolist()
    facts = {"run": str(run.path), "images": run.images, "how": walk.how, "ends": list(walk.ends)}
    write_text(path, json.dumps({"morphospace": "path", **facts, "codes": walk.codes.tolist(), "conditions": told}))


def follow(run: Run | str | Path, path: str | Path) -> Walk:
    """Draw a path that was saved as JSON: by `save_walk`, or by anything that writes `{"codes": [[...], ...]}`.

    Args:
        run: A loaded run or its folder.
        path: The file. `codes` is (T, D); `conditions` (T, K) for a conditional model; `how` and `ends` are words.

    Raises:
        DataError: It is no such file.
        RunError: Its codes are not of this run's space.
    """
    run = loaded(run)
    name = f"path = {str(path)!r}"
    try:
        told: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        codes = _matrix(told["codes"])
        conditions = None if told.get("conditions") is None else _matrix(told["conditions"])
    except OSError as error:
        raise DataError(
            name, rule=error.strerror or error, way_out="give a path that `morpho interpolate` saved"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise DataError(
            name,
            rule="is no path",
            way_out="it must be JSON with `codes`, rows of as many finite numbers each, two at least",
        ) from None
    wide, known = run.model.latent_dim, run.model.conditioning
    if codes.shape[1] != wide:
        raise RunError(
            name,
            rule=f"codes of {codes.shape[1]} numbers, the run's have {wide}",
            way_out="take the run it was made in",
        )
    found = None if conditions is None else tuple(conditions.shape)
    wanted = None if known is None else (len(codes), known.size)
    if found != wanted:
        raise RunError(
            name, rule=f"conditions of shape {found}, must be {wanted}", way_out="take the run it was made in"
        )
    ends = told.get("ends")
    words = (str(ends[0]), str(ends[-1])) if isinstance(ends, list) and ends else ("start", "end")
    return walk_along(run, codes, str(told.get("how", "given")), words, conditions)


def _matrix(rows: Any) -> Tensor:
    """Return rows of numbers as float32 (T, D).

    Raises:
        ValueError: They are none.
    """
    values = torch.tensor(rows, dtype=torch.float32)
    if values.dim() != 2 or len(values) < 2 or not torch.isfinite(values).all():
        raise ValueError(rows)
    return values
