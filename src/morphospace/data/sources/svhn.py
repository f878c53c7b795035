"""Street View House Numbers (Netzer et al. 2011): digits cut out of photographs, 32x32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, Part, SourceInfo, damaged
from morphospace.data.sources.matlab import read_arrays
from morphospace.data.sources.published import Published

_MOST = 300 << 20  # bytes of one array unpacked; the larger one has 225 million
_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


class Svhn(Published):
    """The cropped digits of the training and the test set; the extra set is not read."""

    info = SourceInfo(
        name="svhn",
        description="73,257 + 26,032 digits of house numbers in colour, 10 classes",
        licence="non-commercial use only",
        shape=(32, 32, 3),
        where="http://ufldl.stanford.edu/housenumbers",
        size="246 MB",
        embedded="digits",
    )
    folders = ("svhn", "SVHN")
    mirrors = (info.where,)
    classes: ClassVar[tuple[str, ...]] = tuple(str(n) for n in range(10))
    sha256: ClassVar[Mapping[str, str]] = {
        "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    }

    def _files(self, folder: Path) -> dict[str, Path]:
        return {split: folder / name for split, name in _FILES.items() if (folder / name).is_file()}

    def _missing(self, found: Mapping[str, Path]) -> list[str]:
        return [name for split, name in _FILES.items() if split not in found]

    def read(self) -> Contents:
        parts = {}
        for split, file in self._located().items():
            held = read_arrays(file, {"X": (32, 32, 3, 0), "y": (0, 1)}, _MOST)
            images, labels = held["X"].transpose(0, 3, 2, 1), held["y"].reshape(-1)
            if images.dtype != np.uint8 or len(images) != len(labels):
                raise damaged(file, f"has {len(images):,} images of {images.dtype} and {len(labels):,} labels")
            if not np.isin(labels, range(1, 11)).all():
                raise damaged(file, "has labels other than 1 to 10, which stands for 0")
            parts[split] = Part(images=images, labels=labels.astype(np.int64) % 10)
        return Contents("svhn", parts, (32, 32, 3), label_names=self.classes)
