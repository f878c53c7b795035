"""Check a pack before training: counts, lost files, duplicates, channel statistics, classes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from morphospace.data.naming import display_order
from morphospace.data.pack import MOST_CLASSES, Pack, Split, class_count, open_pack
from morphospace.data.settings import DataSettings, HeldOut

_BYTES = 32 << 20
_SHOWN = 20
_NARROW = 64  # levels: images that use fewer are hardly seen, and hardly learned
_UNEQUAL = 10  # times as many images in the largest class as in the smallest


@dataclass(frozen=True, slots=True)
class SplitCheckup:
    """What one split holds.

    Attributes:
        count: Images.
        mean: Mean of each channel, 0..255.
        deviation: Standard deviation of each channel over all pixels, 0..255.
        levels: How many of the 256 levels some value has.
        ends: The lowest and the highest level.
        most: Between which levels all but a thousandth of the values lie, half of that thousandth on each side.
        constant: Images of one colour throughout.
        classes: Images of each class, by name.
        attributes: Share of images that have each attribute.
        factors: Least, greatest and number of different values of each factor.
        masks: Share of pixels in each mask.
        unmasked: Images whose masks are all empty.
    """

    count: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    levels: int
    ends: tuple[int, int]
    most: tuple[int, int]
    constant: int
    classes: Mapping[str, int]
    attributes: Mapping[str, float]
    factors: Mapping[str, tuple[float, float, int]]
    masks: Mapping[str, float]
    unmasked: int


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a pack holds, and remarks on what may be wrong with it.

    Attributes:
        name: Of the pack.
        shape: (H, W, C).
        splits: By name.
        skipped: Files that could not be read, in all.
        skipped_first: The first of them, each with `file` and `reason`.
        duplicates: Images that are pixel for pixel another's; of k equal ones k - 1 count.
        leaked: Images that are pixel for pixel one of another split, by "test in train" and so on; also those that
            training would hold out of `train` and that are in the rest too.
        duplicate_rows: The first pairs of equal images, each as ((split, row), (split, row)).
        values: What packing met in the files: images that are `transparent`, `deep` (16 bits), `floats` or of
            `few_colours` and were resized by averaging; the `low`est and `high`est value of more than 8 bits.
        remarks: One line for each thing to look into; empty when there is none.
    """

    name: str
    shape: tuple[int, int, int]
    splits: Mapping[str, SplitCheckup]
    skipped: int
    skipped_first: tuple[Mapping[str, str], ...]
    duplicates: int
    leaked: Mapping[str, int]
    duplicate_rows: tuple[tuple[tuple[str, int], tuple[str, int]], ...]
    values: Mapping[str, Any]
    remarks: tuple[str, ...]


def check_pack(pack: Pack, valid: HeldOut = DataSettings.valid) -> Checkup:
    """Check a pack; reads every image, a few at a time.

    Args:
        pack: The images.
        valid: Share of `train` that training would hold out, to be searched for images that are in the rest too.

    Raises:
        DataError: If the pack is on disk and a file of it is not what was packed.
    """
    if pack.path is not None:
        open_pack(pack.path, verify=True)
    seen: dict[bytes, tuple[str, int]] = {}
    pairs: list[tuple[tuple[str, int], tuple[str, int]]] = []
    duplicates, leaked, splits = 0, dict[str, int](), dict[str, SplitCheckup]()
    marks: list[bytes] = []  # of the images of train
    for name, split in pack.splits.items():
        sums, squares, constant = np.zeros(pack.shape[2], np.int64), np.zeros(pack.shape[2], np.int64), 0
        histogram = np.zeros(256, np.int64)
        step = max(1, _BYTES // math.prod(pack.shape))
        for first in range(0, len(split), step):
            images = np.ascontiguousarray(split.images[first : first + step])
            flat = images.reshape(len(images), -1, pack.shape[2])
            sums += flat.sum(axis=(0, 1), dtype=np.int64)
            squares += np.square(flat, dtype=np.uint16).sum(axis=(0, 1), dtype=np.int64)
            constant += int((flat == flat[:, :1]).all(axis=(1, 2)).sum())
            for row, image in enumerate(images, start=first):
                histogram += np.bincount(image.ravel(), minlength=256)
                mark = hashlib.blake2b(image.data, digest_size=16).digest()
                if name == "train":
                    marks.append(mark)
                other = seen.setdefault(mark, (name, row))
                if other == (name, row):
                    continue
                duplicates += 1
                if len(pairs) < _SHOWN:
                    pairs.append((other, (name, row)))
                if other[0] != name:
                    leaked[f"{name} in {other[0]}"] = leaked.get(f"{name} in {other[0]}", 0) + 1
        pixels = len(split) * pack.shape[0] * pack.shape[1]
        splits[name] = _tables(pack, split, sums / pixels, squares / pixels, histogram, constant)
    if again := _held_out_again(pack, valid, marks) if duplicates else 0:
        leaked["the part of train to be held out in train"] = again
    skipped: Mapping[str, Any] = pack.manifest.get("skipped", {"count": 0, "first": []})
    lost, values = tuple(skipped["first"]), pack.manifest.get("values", {})
    made = Checkup(pack.name, pack.shape, splits, skipped["count"], lost, duplicates, leaked, tuple(pairs), values, ())
    notes = pack.manifest.get("notes", ())
    return replace(made, remarks=(*notes, *_remarks(made), *_value_remarks(made, pack), *_large_labels(pack)))


def _large_labels(pack: Pack) -> tuple[str, ...]:
    """Return a remark for each split whose labels are too large to number classes."""
    return tuple(
        f"{name}: labels up to {split.labels.max():,}, which number no classes; number them from 0"
        for name, split in pack.splits.items()
        if split.labels is not None and not pack.label_names and not class_count(split)
    )


def _held_out_again(pack: Pack, valid: HeldOut, marks: Sequence[bytes]) -> int:
    """Return how many images that training would hold out of `train` are among those it would train on."""
    from morphospace.data.batches import held_out  # needs torch

    (_, trained), held = held_out(pack, valid)
    if held is None or held[0] is not pack.split("train"):
        return 0
    known = {marks[row] for row in trained}
    return sum(marks[row] in known for row in held[1])


def _tables(
    pack: Pack, split: Split, mean: np.ndarray, square: np.ndarray, histogram: np.ndarray, constant: int
) -> SplitCheckup:
    classes: dict[str, int] = {}
    if split.labels is not None:
        numbers, counts = np.unique(split.labels, return_counts=True)
        there = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        names = pack.label_names or tuple(map(str, range(class_count(split))))
        if names:
            classes = {names[number]: there.get(number, 0) for number in display_order(names)}
        elif len(there) <= MOST_CLASSES:
            classes = {str(number): count for number, count in there.items()}
    attributes = {}
    if split.attributes is not None:
        shares = np.asarray(split.attributes).sum(axis=0, dtype=np.int64) / len(split)
        attributes = dict(zip(pack.attribute_names, shares.tolist(), strict=True))
    masks, unmasked = _masks(pack, split)
    factors = {}
    for i, name in enumerate(pack.factor_names if split.factors is not None else ()):
        column = np.asarray(split.factors)[:, i]
        factors[name] = (float(column.min()), float(column.max()), len(np.unique(column)))
    used, below = np.flatnonzero(histogram), np.cumsum(histogram)
    tail = below[-1] / 2000
    most = (int(np.searchsorted(below, tail, "right")), int(np.searchsorted(below, below[-1] - tail)))
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    return SplitCheckup(
        len(split),
        tuple(mean.tolist()),
        tuple(deviation.tolist()),
        len(used),
        (int(used[0]), int(used[-1])),
        most,
        constant,
        classes,
        attributes,
        factors,
        masks,
        unmasked,
    )


def _masks(pack: Pack, split: Split) -> tuple[dict[str, float], int]:
    """Return the share of pixels in each mask, and how many images have none."""
    if split.masks is None:
        return {}, 0
    height, width, layers = split.masks.shape[1:]
    inside, unmasked, step = np.zeros(layers, np.int64), 0, max(1, _BYTES // (height * width * layers))
    for first in range(0, len(split), step):
        areas = np.sum(split.masks[first : first + step], axis=(1, 2), dtype=np.int64)
        inside += areas.sum(axis=0)
        unmasked += int((areas == 0).all(axis=1).sum())
    shares = inside / (len(split) * height * width)
    return dict(zip(pack.mask_names, shares.tolist(), strict=True)), unmasked


def _class_remarks(classes: Mapping[str, int]) -> list[str]:
    """Return lines on classes of which there are too few, or too few images."""
    held = {word: count for word, count in classes.items() if count}
    if not held:
        return []
    least, most = min(held, key=held.__getitem__), max(held, key=held.__getitem__)
    single = [word for word, count in held.items() if count == 1]
    lines = []
    if len(held) == 1:
        lines.append(f"all images are of one class, {most}")
    if single:
        lines.append(f"classes of a single image: {len(single):,}, the first {single[0]}")
    if held[most] >= _UNEQUAL * held[least]:
        lines.append(f"classes are of very unequal size, from {held[least]:,} ({least}) to {held[most]:,} ({most})")
    return lines


def _remarks(made: Checkup) -> tuple[str, ...]:
    lines = []
    if made.skipped:
        first = made.skipped_first[0]
        lines.append(f"could not be read and is left out: {made.skipped:,}, first {first['file']}: {first['reason']}")
    if made.duplicates:
        (one, row), (other, again) = made.duplicate_rows[0]
        lines.append(f"{made.duplicates:,} images are another's double, the first {other}[{again}] of {one}[{row}]")
    lines += [f"{count:,} images of {where} again: scores on them flatter" for where, count in made.leaked.items()]
    for name, split in made.splits.items():
        if split.constant:
            lines.append(f"{name}: {split.constant:,} images are of one colour throughout")
        if split.unmasked:
            lines.append(f"{name}: {split.unmasked:,} images have no pixel in any mask")
        absent = [word for word, share in split.masks.items() if share == 0]
        if absent:
            lines.append(f"{name}: masks that no image has: {', '.join(absent)}")
        lines += [f"{name}: {line}" for line in _class_remarks(split.classes)]
        empty = [word for word, count in split.classes.items() if count == 0]
        if empty:
            lines.append(f"{name}: {len(empty):,} classes have no image, the first {empty[0]}")
        same = [word for word, share in split.attributes.items() if share in (0.0, 1.0)]
        if same:
            lines.append(f"{name}: attributes that no image or every image has: {', '.join(same)}")
    return tuple(lines)


def _value_remarks(made: Checkup, pack: Pack) -> list[str]:
    """Return remarks on values: a narrow range, transparency, few colours that were averaged."""
    lines = []
    values = made.values
    low, high = values.get("low"), values.get("high")
    held = f", the files hold {low} to {high}" if low is not None else ""
    for name, split in made.splits.items():
        (lowest, highest), (first, last) = split.ends, split.most
        if highest - lowest < _NARROW and split.levels > 1:
            at = f"lowest {lowest}, " if lowest else ""
            lines.append(f"{name}: {split.levels} of 256 levels used, {at}highest {highest}{held}; --range auto")
        elif last - first < _NARROW and split.levels > 1:
            most = "all but a thousandth of the values"
            asked = f"--range {_value(pack, first, values)}:{_value(pack, last, values)}"
            lines.append(f"{name}: {most} lie in {last - first + 1} of 256 levels, {first} to {last}; {asked}")
    if values.get("transparent"):
        where = pack.manifest.get("rule", {}).get("transparency", "on black")
        other = "; --background white or #rrggbb for another colour" if where == "on black" else ""
        lines.append(f"{values['transparent']:,} images have transparent pixels, which lie {where}{other}")
    if values.get("few_colours", 0) * 2 >= sum(split.count for split in made.splits.values()):
        images = f"{values['few_colours']:,} images have few colours"
        lines.append(f"{images}, and resizing by averages made new ones; --resize nearest keeps them")
    return lines


def _value(pack: Pack, level: int, values: Mapping[str, Any]) -> str:
    """Return which value of the files became a level."""
    span = pack.manifest.get("rule", {}).get("range") or ((0, 1) if values.get("floats") else (0, 65535))
    if "low" not in values and not pack.manifest.get("rule", {}).get("range"):
        span = 0, 255
    return f"{span[0] + level / 255 * (span[1] - span[0]):.6g}"
