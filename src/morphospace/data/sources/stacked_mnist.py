"""Stacked MNIST (Metz et al. 2017): three digits as red, green and blue, so that there are 1,000 modes to count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from morphospace.data.sources.base import Contents, Part, SourceInfo
from morphospace.data.sources.idx import Mnist

_COUNT = {"train": 60_000, "test": 10_000}


class _Stacked:
    def __init__(self, digits: np.ndarray, rows: np.ndarray) -> None:
        self.digits, self.rows = digits, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: slice) -> np.ndarray:
        return np.ascontiguousarray(self.digits[self.rows[at]].transpose(0, 2, 3, 1))


class StackedMnist(Mnist):
    """As many stacks as MNIST has images, of digits drawn with replacement; label 100 r + 10 g + b.

    Rows come from the raw bits of PCG64, whose stream NumPy promises never to change: the same stacks everywhere.
    """

    info = SourceInfo(
        name="stacked-mnist",
        description="60,000 + 10,000 stacks of three MNIST digits in colour, 1,000 classes",
        licence=Mnist.info.licence,
        shape=(28, 28, 3),
        where=Mnist.info.where,
        size="11.6 MB",
    )

    classes = tuple(f"{n:03}" for n in range(1000))

    def inputs(self) -> Mapping[str, Any]:
        return {**super().inputs(), "stacks": 1}

    def read(self) -> Contents:
        flat = Mnist(self.settings, self.root, self.cache, self.say).read()
        parts = {}
        for number, (split, part) in enumerate(flat.parts.items()):
            count = min(_COUNT[split], len(part))
            bits = np.random.PCG64(number).random_raw(3 * count)
            rows = ((bits >> np.uint64(32)) % np.uint64(len(part))).astype(np.int64).reshape(count, 3)
            assert part.labels is not None
            labels = part.labels[rows] @ np.array([100, 10, 1])
            parts[split] = Part(images=_Stacked(part.images[..., 0], rows), labels=labels)
        return Contents("stacked-mnist", parts, (28, 28, 3), label_names=self.classes)
