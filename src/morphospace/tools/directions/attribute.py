"""Directions of a run's space that an attribute, a class or a factor goes along, and arithmetic with them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.data.pack import Pack, Split
from morphospace.errors import SettingError, nearest, require
from morphospace.latent.directions import WAYS, Direction, Held, judged, normal_of, orthogonal, parting
from morphospace.latent.traverse import walked
from morphospace.models.conditioning import class_names
from morphospace.models.priors import Normal
from morphospace.runs.codes import each_code, encoder_of, judged_rows
from morphospace.runs.pick import decoded, start_of
from morphospace.runs.run import Run, loaded
from morphospace.runs.vectors import load_vectors, save_vectors
from morphospace.tools.directions.find_components import some_rows

HELD = 10_000
SHARE = 5  # one in so many is kept aside where no image is held out


@dataclass(frozen=True)
class AttributeWalk:
    """Images moved along a direction.

    Attributes:
        direction: The direction.
        strengths: Of the columns, in standard deviations of prior or codes; at 0 is the reconstruction.
        images: uint8 (rows * columns, H, W, C), a row an image.
        starts: Where each row starts, in words.
    """

    direction: Direction
    strengths: tuple[float, ...]
    images: np.ndarray
    starts: tuple[str, ...]


class _Codes(NamedTuple):
    """Codes (N, D) of the rows (N,) of a split: the posteriors' means, and draws for a classifier to see."""

    codes: Tensor
    drawn: Tensor
    split: Split
    rows: np.ndarray


class _Named(NamedTuple):
    """What a name means in a pack: a kind of value and its column, or number of the class."""

    kind: str
    column: int


def named_in(pack: Pack) -> dict[str, _Named]:
    """Return every attribute, class and factor of a pack by name; the first of these where a name is there twice."""
    found: dict[str, _Named] = {}
    classes = class_names(pack) if any(split.labels is not None for split in pack.splits.values()) else ()
    for kind, names in (("attributes", pack.attribute_names), ("labels", classes), ("factors", pack.factor_names)):
        for column, name in enumerate(names):
            found.setdefault(name, _Named(kind, column))
    return found


def _meant(pack: Pack, name: str) -> _Named:
    """Return what a name means.

    Raises:
        SettingError: Nothing.
    """
    known = named_in(pack)
    why = f"{pack.name} has no labels, attributes or factors; take data that have, such as toyfaces or celeba"
    require(bool(known), "name", name, why)
    if name not in known:
        raise SettingError("name", name, f"{pack.name} has no such attribute, class or factor{nearest(name, known)}")
    return known[name]


def _values(held: _Codes, meant: _Named) -> np.ndarray:
    """Return what each image has of it, (N,)."""
    column = getattr(held.split, meant.kind)
    if column is None:
        raise SettingError(
            "name", rule=f"these images have no {meant.kind}", way_out="take data whose every split has them"
        )
    taken = np.asarray(column[held.rows])
    return taken == meant.column if meant.kind == "labels" else taken[:, meant.column]


def _parted(values: np.ndarray, meant: _Named, cut: float) -> np.ndarray:
    """Return which images have it, (N,): of the class, with the attribute, or with more of a factor than `cut`."""
    return values > cut if meant.kind == "factors" else values.astype(bool)


def _cut(values: np.ndarray) -> float:
    """Return where to part a factor: at its median, or below it where nothing is above."""
    median = float(np.median(values))
    if (values > median).any():
        return median
    below = values[values < median]
    return float(below.max()) if len(below) else median


def _codes_for(run: Run, images: int, by: str, seed: int) -> tuple[_Codes, _Codes]:
    """Return codes to find directions from, and others to judge them by.

    A classifier is shown draws: it would find what it looks for in the means of units that hardly move, but there the
    posterior is as wide as the prior, and the decoder listens to no step of that size.
    """
    encoder_of(run)
    (training, rows), _ = held_out(run.pack, run.configuration.data.valid)
    judging, others, label = judged_rows(run.pack, run.configuration.data.valid)
    if label == "train":  # nothing was held out: keep some aside
        order = some_rows(rows, len(rows), seed)
        others = some_rows(order, max(1, len(order) // SHARE), seed)
        rows = np.setdiff1d(order, others)
    chosen = ((training, some_rows(rows, images, seed)), (judging, some_rows(others, min(images, HELD), seed)))
    found = []
    for split, taken in chosen:
        codes = torch.cat([codes for codes, _ in each_code(run, split, taken)])
        found.append(_Codes(codes, codes, split, taken))
    fit, held = found
    if by == "classifier":
        draws = each_code(run, fit.split, fit.rows, drawn=True, seed=seed)
        fit = fit._replace(drawn=torch.cat([codes for codes, _ in draws]))
    return fit, held


def direction(
    run: Run | str | Path,
    name: str,
    *,
    by: str = "means",
    orthogonal_to: Sequence[str] = (),
    images: int = 10_000,
    seed: int = 0,
) -> Direction:
    """Find the direction that an attribute goes along, and how well it tells held-out images apart.

    Args:
        run: A loaded run or its folder; it must have an encoder.
        name: An attribute, a class (against the rest), or a factor (parted at its median).
        by: `means`, from the mean code of images without it to that of images with it; or `classifier`, the normal of
            the plane that logistic regression puts between them.
        orthogonal_to: Names whose directions, found in the same way, it is to leave alone.
        images: From how many training images.
        seed: Which.

    Raises:
        RunError: There is no encoder.
        SettingError: No such name, too few images with or without it, or nothing left beside the others.
    """
    return directions_of(loaded(run), [name], by, tuple(orthogonal_to), images, seed)[0]


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
        seed: Which.

    Raises:
        RunError: There is no encoder.
    """
    run = loaded(run)
    meant = named_in(run.pack)
    fit, held = _codes_for(run, images, by, seed)
    found = []
    for name in list(meant)[:most]:
        with contextlib.suppress(SettingError):
            found.append(_one(run, name, meant, by, (), fit, held))
    return found


def directions_of(
    run: Run, names: Sequence[str], by: str, orthogonal_to: tuple[str, ...], images: int, seed: int
) -> list[Direction]:
    """Return several directions from the same codes."""
    require(by in WAYS, "by", by, "must be 'means' or 'classifier'")
    require(images >= 4, "images", images, "must be at least 4")
    encoder_of(run)
    meant = {name: _meant(run.pack, name) for name in (*names, *orthogonal_to)}
    for name in names:
        require(name not in orthogonal_to, "orthogonal_to", name, "is the direction itself", "leave it out")
    fit, others = _codes_for(run, images, by, seed)
    return [_one(run, name, meant, by, orthogonal_to, fit, others) for name in names]


def _one(
    run: Run, name: str, meant: dict[str, _Named], by: str, orthogonal_to: tuple[str, ...], fit: _Codes, held: _Codes
) -> Direction:
    """Find one direction from codes, and judge it by others."""

    def normal(one: str) -> Tensor:
        values = _values(fit, meant[one])
        codes = fit.drawn if by == "classifier" else fit.codes
        return normal_of(codes, _parted(values, meant[one], _cut(values)), by)

    values = _values(fit, meant[name])
    cut = _cut(values)
    has = _parted(values, meant[name], cut)
    unit = orthogonal(normal(name), [normal(other) for other in orthogonal_to])
    places = fit.codes.double() @ unit
    chosen = torch.from_numpy(has)
    high, low = float(places[chosen].mean()), float(places[~chosen].mean())
    spread = 1.0 if isinstance(run.model.prior, Normal) else float(places.std())
    threshold = parting(places.numpy(), has)
    judgement = judged(unit, threshold, held.codes, _parted(_values(held, meant[name]), meant[name], cut))
    facts: dict[str, object] = {
        "model": run.configuration.model.name,
        "checkpoint_images": run.images,
        "data": run.pack.name,
        "kind": meant[name].kind,
        "fitted_on": len(has),
        "fitted_with": int(has.sum()),
    }
    if meant[name].kind == "factors":
        facts["parted_at"] = cut
    return Direction(name, (unit * spread).float(), by, (high - low) / spread, judgement, orthogonal_to, facts)


def attribute(
    run: Run | str | Path,
    name: str,
    *,
    image: int | str | Path | Sequence[int | str | Path] = 0,
    strength: tuple[float, float, int] = (-3.0, 3.0, 7),
    by: str = "means",
    orthogonal_to: Sequence[str] = (),
    images: int = 10_000,
    seed: int = 0,
) -> AttributeWalk:
    """Move images along the direction that an attribute goes along.

    Args:
        run: A loaded run or its folder; it must have an encoder.
        name: An attribute, class or factor, see `direction`.
        image: Which image or images, as for `picked`.
        strength: First, last and how many; in standard deviations, of the prior where it is N(0, I), else of the codes
            along the direction.
        by: See `direction`.
        orthogonal_to: See `direction`.
        images: See `direction`.
        seed: See `direction`.
    """
    run = loaded(run)
    first, last, count = strength
    fine = math.isfinite(first) and math.isfinite(last) and 1 <= count <= 200
    require(fine, "strength", strength, "must be FIRST:LAST:COUNT, COUNT from 1 to 200, for instance -3:3:7")
    several = [image] if isinstance(image, (int, str, Path)) else list(image)
    require(bool(several), "image", image, "names no image", "give at least one")
    encoder_of(run)
    _meant(run.pack, name)
    starts = [start_of(run, one) for one in several]
    found = direction(run, name, by=by, orthogonal_to=orthogonal_to, images=images, seed=seed)
    strengths = torch.linspace(first, last, count, dtype=torch.float64)
    drawn = []
    for code, condition, _, _ in starts:
        codes = walked(code.double(), found.vector, strengths).float()
        drawn.append(decoded(run, codes, condition))
    words = tuple(f"{words}, told {told}" if told else words for _, _, words, told in starts)
    return AttributeWalk(found, tuple(strengths.tolist()), np.concatenate(drawn), words)


def save_direction(path: str | Path, found: Direction) -> None:
    """Write a direction to a .safetensors file, for the explorer or another program."""
    facts = {key: value for key, value in asdict(found).items() if key != "vector"}
    save_vectors(Path(path), "direction", {"vector": found.vector}, facts)


def load_direction(path: str | Path) -> Direction:
    """Read a direction that `save_direction` wrote.

    Raises:
        RunError: It is something else.
    """
    tensors, facts = load_vectors(Path(path), "direction")
    held = facts.pop("held")
    others = tuple(facts.pop("orthogonal_to"))
    return Direction(vector=tensors["vector"], held=held and Held(**held), orthogonal_to=others, **facts)
