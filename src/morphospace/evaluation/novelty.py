"""Whether samples are new: their distance to the nearest training image, compared with that of held-out images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from morphospace.errors import require
from morphospace.evaluation import neighbours
from morphospace.models.features import shrunk_to
from morphospace.randomness import stream

COPY = 1 / 3  # a picture so much nearer to one training image than to the next ones is a copy
SEEN = 32  # longest side at which pictures are compared: a copy is one at that size too
KEPT = 5
RESAMPLES = 1000
TINY = 1e-12


@dataclass(frozen=True)
class Neighbours:
    """The nearest training images of some pictures.

    Attributes:
        distance: Root mean squared difference a value to the nearest, (N,), float64.
        index: Which one it is, (N,).
        ratio: Distance to the nearest over the mean distance to the next four, (N,): near 1 for a picture between
            them, near 0 for a copy of one; 0 where the nearest is the same picture.
    """

    distance: np.ndarray
    index: np.ndarray
    ratio: np.ndarray

    @property
    def copies(self) -> float:
        """Share of pictures that are copies by their ratio."""
        return float((self.ratio < COPY).mean())


def shrunk(images: np.ndarray, rows: np.ndarray | None = None, *, largest: int = SEEN) -> np.ndarray:
    """Return pictures, uint8 (N, H, W, C), averaged down to at most so many pixels a side, a block at a time.

    Args:
        images: The pictures; a memory map is read in blocks.
        rows: Which of them; all when None.
        largest: Longest side.
    """
    count = len(images) if rows is None else len(rows)
    height, width = images.shape[1:3]
    size = shrunk_to(images.shape[1:], largest)
    if size == (height, width):
        return images if rows is None else np.asarray(images[rows])
    made = np.empty((count, *size, images.shape[3]), np.uint8)
    for first in range(0, count, 1024):
        part = images[first : first + 1024] if rows is None else images[rows[first : first + 1024]]
        planes = torch.from_numpy(np.array(part)).permute(0, 3, 1, 2).float()
        small = functional.interpolate(planes, size, mode="area").round().to(torch.uint8)
        made[first : first + len(part)] = small.permute(0, 2, 3, 1).numpy()
    return made


def nearest(
    queries: np.ndarray, training: np.ndarray, *, block: int | None = None, skip_self: bool = False
) -> Neighbours:
    """Find the nearest training rows by Euclidean distance, in pixels or in any features.

    Args:
        queries: (N, ...); may be a memory map, as the training rows may.
        training: (M, ...), as many numbers a row.
        block: Rows at once; chosen by their size when None.
        skip_self: Leave out row i of the training for query i: both are the same set.
    """
    size = int(np.prod(queries.shape[1:]))
    fits = size == int(np.prod(training.shape[1:]))
    require(fits, "queries", queries.shape, f"must have as many numbers a row as the training, {training.shape}")
    kept = min(KEPT, len(training) - skip_self)
    require(
        kept >= 1 and len(queries) > 0,
        "training",
        len(training),
        "too few rows to have a neighbour",
        "give more images",
    )
    found = neighbours.nearest(queries, training, kept, skip_self=skip_self, block=block)
    distances = np.sqrt(found.squared.numpy() / size)
    first = distances[:, 0]
    others = distances[:, 1:].mean(1) if kept > 1 else first
    ratio = np.where(first > 0, first / np.maximum(others, 1e-300), 0.0)
    return Neighbours(first, found.rows[:, 0].numpy(), ratio)


@dataclass(frozen=True)
class Novelty:
    """How new samples are, compared with held-out images.

    Attributes:
        distance: Median distance of samples to their nearest training image.
        unseen_distance: That of the held-out images.
        copies: Share of samples that are copies.
        unseen_copies: That of the held-out images: what the data hold of near duplicates themselves.
    """

    distance: float
    unseen_distance: float
    copies: float
    unseen_copies: float

    @property
    def ratio(self) -> float:
        """Distance of samples over that of held-out images: 1 for samples as new as new images, 0 for copies.

        Blurred pictures lie nearer to everything, so below 1 alone is no sign of memory; copies are.
        """
        return self.distance / self.unseen_distance if self.unseen_distance else float("nan")


def median_ratio(values: np.ndarray, of: np.ndarray, *, seed: int = 0) -> tuple[float, float, float]:
    """Return the median of some values over that of others, and its 95 % interval by bootstrap of both."""
    rng = np.random.default_rng(stream(seed, "median ratio"))
    drawn = (np.median(side[rng.integers(len(side), size=(RESAMPLES, len(side)))], axis=1) for side in (values, of))
    above, below = (np.maximum(medians, TINY) for medians in drawn)
    low, high = np.quantile(above / below, (0.025, 0.975))
    return float(np.median(values) / max(float(np.median(of)), TINY)), float(low), float(high)


def novelty(*, samples: np.ndarray, training: np.ndarray, unseen: np.ndarray) -> Novelty:
    """Compare samples with training images, in pixels or in any features (all three in the same).

    A sample is a copy if the ratio of the nearest to the next distances is below a third (after Yoon et al. 2023,
    "Diffusion probabilistic models generalize when they fail to memorize").
    """
    made, real = nearest(samples, training), nearest(unseen, training)
    return Novelty(float(np.median(made.distance)), float(np.median(real.distance)), made.copies, real.copies)
