"""scikit-learn's handwritten digits: small, installed with the library, the quickest way to try anything."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, Part, Source, SourceInfo

_TRAIN = 1437


class Digits(Source):
    """1,797 digits of 8x8 with 17 levels, which become 0..255.

    The set has no split of its own, so 360 images drawn once and for all make the test split. Seed 0 of
    NumPy's legacy generator, whose stream is frozen, draws them: the same rows on every machine and in every
    version.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="digits",
        description="1,797 handwritten digits of scikit-learn, 10 classes",
        licence="CC BY 4.0 (UCI, Alpaydin and Kaynak 1998)",
        may_be_shown=True,
        shape=(8, 8, 1),
        where="comes with scikit-learn; nothing to download",
        size="none",
    )
    classes: ClassVar[tuple[str, ...]] = tuple(str(n) for n in range(10))

    def here(self) -> bool:
        return True

    def inputs(self) -> Mapping[str, Any]:
        return {"scikit-learn": version("scikit-learn")}

    def identity(self) -> str:
        return ""

    def read(self) -> Contents:
        from sklearn.datasets import load_digits  # takes a second to import

        data = load_digits()
        images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
        labels = data.target.astype(np.int64)
        order = np.random.RandomState(0).permutation(len(images))
        rows = {"train": np.sort(order[:_TRAIN]), "test": np.sort(order[_TRAIN:])}
        parts = {split: Part(images=images[at], labels=labels[at]) for split, at in rows.items()}
        return Contents("digits", parts, (8, 8, 1), label_names=self.classes)
