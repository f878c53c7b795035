"""The parts of a comparison as data: what each run is, what it cost, what it scored and what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from morphospace.evaluation.results import Better

if TYPE_CHECKING:
    import numpy as np

    from morphospace.pictures.maps import LatentMap

# Conditions that must be equal for two numbers of one name to be compared.
HELD_FAST = ("data", "data_hash", "images", "size", "split", "n_real", "n_fake", "features", "resize", "binarise", "of")


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
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    least: float | None = None
    most: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """A column of a table.

    Attributes:
        name: What it is, with its features.
        unit: See `Result.unit`.
        cells: One a row.
        better: See `Result.better`.
        logged: Whether it comes from the run's own log, not from an evaluation.
    """

    name: str
    unit: str
    cells: tuple[Cell, ...]
    better: Better = ""
    logged: bool = False

    @property
    def best(self) -> int | None:
        """The row that is clearly better than every other: its interval overlaps no other.

        None where any two numbers were measured under different conditions, or one has no interval.
        """
        there = {row: cell for row, cell in enumerate(self.cells) if cell.value is not None}
        conditions = [[cell.conditions.get(key) for key in HELD_FAST] for cell in there.values()]
        if not self.better or len(there) < 2 or any(c != conditions[0] for c in conditions):
            return None
        ends = {row: (c.low, c.high) for row, c in there.items() if c.low is not None and c.high is not None}
        if len(ends) < len(there):
            return None
        sign = 1 if self.better == "lower" else -1
        spans = {row: sorted((sign * low, sign * high)) for row, (low, high) in ends.items()}
        first = min(spans, key=lambda row: spans[row][1])
        others = min(low for row, (low, _) in spans.items() if row != first)
        return first if spans[first][1] < others else None


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
