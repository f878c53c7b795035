"""A network as a short list of steps on numbers, for a reader without torch: the page that `export` writes.

A program works in one memory of float32 numbers: first constants, then maps, each at an address.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

MOST_AXES = 5  # that a step runs over, once neighbours are joined
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class View:
    """Some numbers of a buffer, as a tensor.

    Attributes:
        buffer: Number of the buffer.
        shape: The tensor's shape.
        strides: How many numbers apart neighbours along each axis are.
        at: Where in the buffer the first one is.
    """

    buffer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    at: int = 0

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def plain(self) -> bool:
        """Whether the numbers stand in a row."""
        wanted = row_strides(self.shape)
        return all(a == b or size == 1 for a, b, size in zip(self.strides, wanted, self.shape))

    def spread(self, shape: Sequence[int]) -> View:
        """Return the view broadcast to a shape."""
        more = len(shape) - len(self.shape)
        old, strides = (1,) * more + self.shape, (0,) * more + self.strides
        return replace(
            self, shape=tuple(shape), strides=tuple(0 if a == 1 else s for a, s in zip(old, strides, strict=True))
        )


@dataclass
class Step:
    """One step of a program.

    Attributes:
        kind: `linear`, `conv`, `up`, `each`, `reduce` or `resize`.
        reads: What it reads.
        writes: What it writes.
        facts: What else the reader must know.
        weight: Of a product: the matrix or matrices, (groups, rows, inner).
        bias: Of a product: one number for each output, or channel.
        shared: Of a product: rows of the matrix that make one channel, and share a scale where weights are rounded.
    """

    kind: str
    reads: list[View]
    writes: View
    facts: dict[str, Any] = field(default_factory=dict)
    weight: Tensor | None = None
    bias: Tensor | None = None
    shared: int = 1

    @property
    def is_product(self) -> bool:
        """Whether it multiplies by weights."""
        return self.weight is not None


def row_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a tensor whose numbers stand in a row.

    >>> row_strides((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def laid_out(numbers: Floats, view: View) -> Floats:
    """Return the numbers of a view of a buffer."""
    return np.lib.stride_tricks.as_strided(numbers[view.at :], view.shape, tuple(4 * s for s in view.strides))


@dataclass(frozen=True)
class Program:
    """A network, written down.

    Attributes:
        inputs: Address and count of each input.
        output: Address and count of the output.
        constants: What the memory begins with.
        size: Numbers of memory, constants included.
        steps: The steps in order; a product's `w` is the number of its weights.
        weights: The matrices of the products, (groups, rows, inner) each, and how many rows share a scale.
        biases: The numbers that products add; None for those that add none.
    """

    inputs: list[list[int]]
    output: list[int]
    constants: Floats
    size: int
    steps: list[dict[str, Any]]
    weights: list[tuple[Floats, int]]
    biases: list[Floats | None]
