"""The parts of a comparison as data: what each run is, what it cost, what it scored and what it shows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from morphospace.evaluation.differences import LEVEL, Difference, from_intervals, holm, paired, unpaired
from morphospace.evaluation.results import Better

if TYPE_CHECKING:
    import numpy as np

    from morphospace.pictures.maps import LatentMap

# Conditions that must be equal for two numbers of one name to be compared: those of the images that were measured, and
# those of how. Means over images can be compared over other images of the same data too, but not as pairs.
SAME_IMAGES = ("split", "images", "n_real", "seed")
SAME_MEASURE = ("data", "data_hash", "size", "n_fake", "features", "resize", "binarise", "of")


@dataclass(frozen=True)
class Cell:
    """A number in a table, or why there is none.

    Attributes:
        value: The number; for several seeds their mean.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end of it.
        n: How many images or seeds it was measured on.
        least: The lowest value of the seeds.
        most: The highest value of the seeds.
        conditions: Everything else that the number depends on.
        note: Why there is no number.
        null: See `Result.null`.
        each: The numbers that the value is the mean of, one an image or one a seed; None where it is no such mean.
        over: What they are one of: `images`, in a fixed order, or `seeds`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    least: float | None = None
    most: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    null: Mapping[str, Any] | None = None
    each: np.ndarray | None = field(default=None, compare=False, repr=False)
    over: str = "images"

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval; of one that was cut at what the number can be, the wider side."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return max(self.value - self.low, self.high - self.value)


@dataclass(frozen=True)
class Contrast:
    """How two rows differ in a number.

    Attributes:
        first: A row.
        second: Another row.
        found: The difference, second less first.
        n: Numbers of images or seeds that it was computed from; None where only the two intervals are known.
        over: `the same images` if each image gives a pair, else `other images`, `seeds` or `two intervals`.
        corrected: p after Holm's correction over all pairs of rows of this number.
        tests: How many pairs that were.
    """

    first: int
    second: int
    found: Difference
    n: tuple[int, int] | None
    over: str
    corrected: float = math.nan
    tests: int = 0

    @property
    def paired(self) -> bool:
        """Whether it is a mean over pairs of numbers of the same image."""
        return self.over == "the same images"

    @property
    def remains(self) -> bool:
        """Whether it is a difference at 5 % after the correction."""
        return self.corrected < LEVEL


def contrast(cells: Sequence[Cell], first: int, second: int) -> Contrast | None:
    """Return how two rows differ, not corrected; None where there are no two numbers, or they do not compare."""
    a, b = cells[first], cells[second]
    half_widths = (a.half_width, b.half_width)
    if None in half_widths or a.value is None or b.value is None:
        return None
    if any(a.conditions.get(key) != b.conditions.get(key) for key in SAME_MEASURE):
        return None
    same = all(a.conditions.get(key) == b.conditions.get(key) for key in SAME_IMAGES)
    if a.each is not None and b.each is not None:
        n = (len(a.each), len(b.each))
        if a.over == "images" and same:
            return Contrast(first, second, paired(a.each, b.each), n, "the same images")
        if a.over == "images" or same:
            return Contrast(first, second, unpaired(a.each, b.each), n, {"images": "other images"}.get(a.over, a.over))
    if not same:
        return None
    assert half_widths[0] is not None and half_widths[1] is not None
    return Contrast(first, second, from_intervals(a.value, b.value, (half_widths[0], half_widths[1])), None, INTERVALS)


@dataclass(frozen=True)
class Measure:
    """A column of a table.

    Attributes:
        name: What it is, with its features.
        unit: See `Result.unit`.
        cells: One a row.
        better: See `Result.better`.
        logged: Whether it comes from the run's own log, not from an evaluation.
        metric: The metric that it is a number of, such as `fd`; empty for one of the log.
    """

    name: str
    unit: str
    cells: tuple[Cell, ...]
    better: Better = ""
    logged: bool = False
    metric: str = ""

    @cached_property
    def contrasts(self) -> dict[tuple[int, int], Contrast]:
        """How each two rows differ, by their numbers, the smaller first; pairs that do not compare are left out."""
        pairs = itertools.combinations(range(len(self.cells)), 2)
        found = [one for pair in pairs if (one := contrast(self.cells, *pair)) is not None]
        tests = sum(not math.isnan(one.found.p) for one in found)
        corrected = holm([one.found.p for one in found])
        return {
            (one.first, one.second): replace(one, corrected=p, tests=tests)
            for one, p in zip(found, corrected, strict=True)
        }

    @cached_property
    def leader(self) -> int | None:
        """The row with the best number, by chance or not; None where neither way is better, or there are no two."""
        there = {row: cell.value for row, cell in enumerate(self.cells) if cell.value is not None}
        if not self.better or len(there) < 2:
            return None
        sign = 1 if self.better == "lower" else -1
        return min(there, key=lambda row: (math.isnan(there[row]), sign * there[row]))

    @property
    def best(self) -> int | None:
        """The leader, if its difference to every other row remains after Holm's correction."""
        first = self.leader
        rows = [row for row, cell in enumerate(self.cells) if cell.value is not None and row != first]
        if first is None:
            return None
        to_others = [self.contrasts.get((min(first, row), max(first, row))) for row in rows]
        return first if all(one is not None and one.remains for one in to_others) else None


INTERVALS = "two intervals"


@dataclass(frozen=True)
class Table:
    """Measures of several rows, all with the same kind of interval.

    Attributes:
        spread: `sampling`: the same model, other images; `training`: the same settings, other seeds.
        rows: Names of the rows.
        measures: The columns.
    """

    spread: str
    rows: tuple[str, ...]
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes:
        parameters: Trainable numbers by network; None where the model could not be loaded.
        images: Images seen.
        seconds: Time in training steps.
        epochs: Passes over the data.
        precision: What it computed in, as its last checkpoint says; empty where unknown.
        device: What it computed on, and torch's version, likewise.
    """

    parameters: Mapping[str, int] | None
    images: int
    seconds: float
    epochs: float
    precision: str
    device: str

    @property
    def rate(self) -> float | None:
        """Images a second."""
        return self.images / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Member:
    """A run on the page.

    Attributes:
        name: Its folder's name, with as many parents as make it unique.
        row: Number of its row; runs that differ only in the seed share one.
        model: Its model.
        data: Name of its data.
        data_hash: Hash of them.
        shape: (H, W, C) of its images.
        latent_dim: Length of a code.
        condition: Whether its model is conditional.
        settings: Every setting that matters, by name.
        adversary: Name of the adversarial loss; empty where there is none. Curves of one loss share an axis.
        log: The lines of its metrics.jsonl.
        cost: What it took.
        taken: Images seen at the checkpoint that was loaded; None where there is none.
        samples: uint8 (N, H, W, C), or why there are none.
        rebuilt: Reconstructions, uint8 (N, H, W, C), or why there are none.
        of_images: Key of the images that it reconstructed in `Comparison.originals`; empty where there are none.
        latent: Its latent map, or why there is none.
        pictured: Whether it has pictures on the page; of many runs only the first of each row has.
    """

    name: str
    row: int
    model: str
    data: str
    data_hash: str
    shape: tuple[int, int, int]
    latent_dim: int
    condition: bool
    settings: Mapping[str, Any]
    adversary: str
    log: Sequence[Mapping[str, Any]]
    cost: Cost
    taken: int | None
    samples: np.ndarray | str
    rebuilt: np.ndarray | str
    of_images: str
    latent: LatentMap | str
    pictured: bool = True

    @property
    def about_data(self) -> str:
        """The data in words."""
        return f"{self.data}, {'x'.join(map(str, self.shape))}"
