"""Find the directions of attributes, classes and factors in a run's space, and judge them on held-out images."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.data.pack import Pack, Split
from morphospace.errors import SettingError, nearest, require
from morphospace.latent.directions import Direction, judged, normal_of, orthogonal, parting
from morphospace.models.conditioning import class_names
from morphospace.models.priors import Normal
from morphospace.runs.codes import each_code, encoder_of, judged_rows
from morphospace.runs.run import Run, loaded
from morphospace.tools.directions.find_components import rows_to_encode

MOST_HELD_OUT = 10_000
KEPT_ASIDE = 5  # one training image in so many is kept aside to judge by, where none is held out


class _Codes(NamedTuple):
    """Codes (N, D) of the rows (N,) of a split: the posteriors' means, and samples for a classifier."""

    codes: Tensor
    drawn: Tensor
    split: Split
    rows: np.ndarray


class Target(NamedTuple):
    """An attribute, class or factor of a pack: the kind, and the column or number of the class."""

    kind: str
    column: int


def targets_of(pack: Pack) -> dict[str, Target]:
    """Return every attribute, class and factor of a pack by name; the first of these where a name is there twice."""
    found: dict[str, Target] = {}
    classes = class_names(pack) if any(split.labels is not None for split in pack.splits.values()) else ()
    for kind, names in (("attributes", pack.attribute_names), ("labels", classes), ("factors", pack.factor_names)):
        for column, name in enumerate(names):
            found.setdefault(name, Target(kind, column))
    return found


def target_of(pack: Pack, name: str) -> Target:
    """Return the attribute, class or factor of a name.

    Raises:
        SettingError: If the pack has none of that name.
    """
    known = targets_of(pack)
    why = f"{pack.name} has no labels, attributes or factors; take data that have, such as toyfaces or celeba"
    require(bool(known), "name", name, why)
    if name not in known:
        raise SettingError("name", name, f"{pack.name} has no such attribute, class or factor{nearest(name, known)}")
    return known[name]


def _values(held: _Codes, target: Target) -> np.ndarray:
    """Return the value of each image, (N,)."""
    column = getattr(held.split, target.kind)
    if column is None:
        raise SettingError(
            "name", rule=f"these images have no {target.kind}", way_out="take data whose every split has them"
        )
    taken = np.asarray(column[held.rows])
    return taken == target.column if target.kind == "labels" else taken[:, target.column]


def _with_it(values: np.ndarray, target: Target, cut: float) -> np.ndarray:
    """Return which images (N,) are of the class, have the attribute, or have more of the factor than `cut`."""
    return values > cut if target.kind == "factors" else values.astype(bool)


def _threshold(values: np.ndarray) -> float:
    """Return where to split a factor: at its median, or below it if nothing is above."""
    median = float(np.median(values))
    if (values > median).any():
        return median
    below = values[values < median]
    return float(below.max()) if len(below) else median


def _codes_for(run: Run, images: int, by: str, seed: int) -> tuple[_Codes, _Codes]:
    """Return codes to find directions from, and others to judge them by.

    A classifier is trained on samples of the posteriors. In their means it would find the attribute in dimensions that
    barely vary and that the decoder ignores, where the posterior is as wide as the prior.
    """
    encoder_of(run)
    (training, rows), _ = held_out(run.pack, run.configuration.data.valid)
    judging, others, label = judged_rows(run.pack, run.configuration.data.valid)
    if label == "train":  # nothing is held out: keep some aside
        order = rows_to_encode(rows, len(rows), seed)
        others = rows_to_encode(order, max(1, len(order) // KEPT_ASIDE), seed)
        rows = np.setdiff1d(order, others)
    chosen = (
        (training, rows_to_encode(rows, images, seed)),
        (judging, rows_to_encode(others, min(images, MOST_HELD_OUT), seed)),
    )
    found = []
    for split, taken in chosen:
        codes = torch.cat([codes for codes, _ in each_code(run, split, taken)])
        found.append(_Codes(codes, codes, split, taken))
    fit, held = found
    if by == "classifier":
        draws = each_code(run, fit.split, fit.rows, drawn=True, seed=seed)
        fit = fit._replace(drawn=torch.cat([codes for codes, _ in draws]))
    return fit, held


def directions(
    run: Run | str | Path, most: int = 24, *, by: str = "means", images: int = 4000, seed: int = 0
) -> list[Direction]:
    """Return the directions of the attributes, classes and factors that the data know, from the same codes.

    Those that too few images have, or lack, are left out.

    Args:
        run: A loaded run or its folder; it must have an encoder.
        most: How many at most.
        by: As for `direction`.
        images: From how many training images.
        seed: Which of the training images.

    Raises:
        RunError: If there is no encoder.
    """
    run = loaded(run)
    targets = targets_of(run.pack)
    fit, held = _codes_for(run, images, by, seed)
    found = []
    for name in list(targets)[:most]:
        with contextlib.suppress(SettingError):
            found.append(_found(run, name, targets, by, (), fit, held))
    return found


def directions_of(
    run: Run, names: Sequence[str], by: str, orthogonal_to: tuple[str, ...], images: int, seed: int
) -> list[Direction]:
    """Return several directions from the same codes."""
    encoder_of(run)
    targets = {name: target_of(run.pack, name) for name in (*names, *orthogonal_to)}
    for name in names:
        require(name not in orthogonal_to, "orthogonal_to", name, "is the direction itself", "leave it out")
    fit, others = _codes_for(run, images, by, seed)
    return [_found(run, name, targets, by, orthogonal_to, fit, others) for name in names]


def _found(
    run: Run, name: str, targets: dict[str, Target], by: str, orthogonal_to: tuple[str, ...], fit: _Codes, held: _Codes
) -> Direction:
    """Find one direction from codes, and judge it by others."""

    def normal(one: str) -> Tensor:
        values = _values(fit, targets[one])
        codes = fit.drawn if by == "classifier" else fit.codes
        return normal_of(codes, _with_it(values, targets[one], _threshold(values)), by)

    values = _values(fit, targets[name])
    cut = _threshold(values)
    has = _with_it(values, targets[name], cut)
    unit = orthogonal(normal(name), [normal(other) for other in orthogonal_to])
    places = fit.codes.double() @ unit
    chosen = torch.from_numpy(has)
    high, low = float(places[chosen].mean()), float(places[~chosen].mean())
    spread = 1.0 if isinstance(run.model.prior, Normal) else float(places.std())
    threshold = parting(places.numpy(), has)
    judgement = judged(unit, threshold, held.codes, _with_it(_values(held, targets[name]), targets[name], cut))
    facts: dict[str, object] = {
        "model": run.configuration.model.name,
        "checkpoint_images": run.images,
        "data": run.pack.name,
        "kind": targets[name].kind,
        "fitted_on": len(has),
        "fitted_with": int(has.sum()),
    }
    if targets[name].kind == "factors":
        facts["parted_at"] = cut
    return Direction(name, (unit * spread).float(), by, (high - low) / spread, judgement, orthogonal_to, facts)
