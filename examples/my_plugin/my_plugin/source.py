"""The data source `rings`: rings of random radius and width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from morphospace.data.sources import Contents, Part, Source, SourceInfo, source

SIZE, COUNTS = 16, {"train": 1000, "test": 200}


@source
class Rings(Source):
    """Rings, drawn in memory."""

    info: ClassVar[SourceInfo] = SourceInfo(
        name="rings",
        description="1,200 rings of random radius and width, 2 classes",
        licence="CC0",
        shape=(SIZE, SIZE, 1),
        where="drawn on the spot; nothing to download",
        size="none",
    )

    def here(self) -> bool:
        """Return whether the files are there: there are none."""
        return True

    def inputs(self) -> Mapping[str, Any]:
        """Return what the images depend on; raise the version when they change."""
        return {"version": 1}

    def read(self) -> Contents:
        """Draw the images."""
        generator = np.random.default_rng(0)
        parts = {split: _part(generator, count) for split, count in COUNTS.items()}
        return Contents("rings", parts, (SIZE, SIZE, 1), label_names=("thin", "thick"))


def _part(generator: np.random.Generator, count: int) -> Part:
    radius, width = generator.uniform(3, 6, (count, 1, 1)), generator.uniform(0.5, 2.5, (count, 1, 1))
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    near = np.clip(width + 0.5 - np.abs(np.hypot(rows, columns) - radius), 0, 1)
    labels = (width[:, 0, 0] > 1.5).astype(np.int64)
    return Part(images=np.rint(255 * near).astype(np.uint8)[..., None], labels=labels)
