"""The current moment of training, and schedules as functions of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Clock:
    """The current moment of training.

    Attributes:
        step: Steps finished.
        images: Real images seen by all processes.
        epoch: The same in passes over the training images.
        dataset: Number of training images; 0 if unknown.
    """

    step: int
    images: int
    epoch: float
    dataset: int = 0

    def every(self, steps: int) -> bool:
        """Return whether this step is one of every so many, the first included.

        A loss that does something in some steps only asks this, so that each kind of step can be captured (see
        `training.graphs`).
        """
        return self.step % steps == 0

    def reached(self, images: int) -> bool:
        """Return whether training has seen so many images, which a loss asks that changes at some moment.

        As with `every`, the steps before and those after can be captured.
        """
        return self.images >= images

    def scheduled(self, number: Callable[[Clock], float]) -> Any:
        """Return a number that changes with time: a float, or a tensor () where steps are captured.

        Args:
            number: Depends on the clock that it is given, and on nothing else that changes.

        >>> Clock(10, 1280, 0.02).scheduled(lambda clock: ramp(clock.images, 2560))
        0.5
        """
        return number(self)


def ramp(images: int, length: int) -> float:
    """Return the linear warm-up min(1, images / length); 1 where there is none.

    >>> ramp(25, 100), ramp(200, 100), ramp(0, 0)
    (0.25, 1.0, 1.0)
    """
    return min(1.0, images / length) if length else 1.0


def cosine(images: int, length: int) -> float:
    """Return (1 + cos(pi images / length)) / 2, from 1 down to 0.

    >>> cosine(0, 10), round(cosine(5, 10), 6), cosine(10, 10)
    (1.0, 0.5, 0.0)
    """
    return 0.5 * (1 + math.cos(math.pi * min(1.0, images / length)))
