"""Cars3D (Reed et al. 2015): 183 models of cars, seen from 24 sides and 4 heights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, HandFetched, Part, SourceInfo, damaged, fingerprint
from morphospace.data.sources.matlab import read_arrays

_SIDE, _AZIMUTHS, _ELEVATIONS = 128, 24, 4
_VIEWS = _AZIMUTHS * _ELEVATIONS
_MOST = 16 << 20  # bytes of one car unpacked; the images have 4.7 million
_ARCHIVE = "nips2015-analogy-data.tar.gz"


class _Views:
    """The views of every car, a car's 96 after another's; one file is in memory at a time."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self._held: tuple[int, np.ndarray] = (-1, np.empty(0, np.uint8))

    def __len__(self) -> int:
        return _VIEWS * len(self.files)

    def _car(self, number: int) -> np.ndarray:
        if self._held[0] != number:
            file = self.files[number]
            shape = (_SIDE, _SIDE, 3, _AZIMUTHS, _ELEVATIONS)
            views = read_arrays(file, {"im": shape}, _MOST)["im"]
            if views.dtype != np.uint8:
                raise damaged(file, f"has images of {views.dtype}")
            self._held = number, views.transpose(0, 1, 4, 3, 2).reshape(_VIEWS, _SIDE, _SIDE, 3)
        return self._held[1]

    def __getitem__(self, at: slice) -> np.ndarray:
        first, last, _ = at.indices(len(self))
        cars = range(first // _VIEWS, -(-last // _VIEWS))
        parts = [self._car(n)[max(0, first - n * _VIEWS) : last - n * _VIEWS] for n in cars]
        return np.concatenate(parts) if parts else np.empty((0, _SIDE, _SIDE, 3), np.uint8)


class Cars3d(HandFetched):
    """`cars/` of the published archive, unpacked: a list and a MATLAB file for each car.

    The label is the car. Factors are the elevation (the lowest 0, the highest 1), the azimuth in radians, and the car.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="cars3d",
        description="17,568 images of 183 cars from 96 sides, 3 factors",
        licence="none stated by its authors",
        shape=(_SIDE, _SIDE, 3),
        where=f"http://www.scottreed.info/files/{_ARCHIVE}",
        size="not stated",
    )
    refusal = "must be fetched by hand"
    factors: ClassVar[tuple[str, ...]] = ("elevation", "azimuth", "object_type")

    def _folders(self) -> list[Path]:
        below = [self.root / name for name in ("cars3d", "Cars3D", "")] if self.root else []
        return [folder / inner for folder in (*below, self.cache) for inner in ("cars", "data/cars", "")]

    def _find(self) -> tuple[Path, Path] | None:
        return next(((f.parent, f) for f in self._folders() if next(f.glob("car_*_mesh.mat"), None)), None)

    def _lost(self) -> str:
        return "its files car_*_mesh.mat are not here"

    def _manual(self) -> str:
        target = self.root / "cars3d" if self.root else self.cache
        return f"unpack {self.info.where} into {target}, so that its cars/ or data/cars/ lies there"

    def _cars(self) -> list[Path]:
        return sorted(self._located()[1].glob("car_*_mesh.mat"))

    def identity(self) -> str:
        return str(self._located()[1].resolve())

    def inputs(self) -> Mapping[str, Any]:
        return fingerprint(self._located()[1], [file.name for file in self._cars()])

    def read(self) -> Contents:
        images = _Views(self._cars())
        cars, views = np.divmod(np.arange(len(images)), _VIEWS)
        elevations, azimuths = np.divmod(views, _AZIMUTHS)
        angles = 2 * np.pi * azimuths / _AZIMUTHS
        factors = np.stack([elevations / (_ELEVATIONS - 1), angles, cars], axis=1).astype(np.float32)
        few = f"cars3d: {len(images.files)} of 183 cars are here"
        return Contents(
            "cars3d",
            {"train": Part(images=images, labels=cars.astype(np.int64), factors=factors)},
            (_SIDE, _SIDE, 3),
            label_names=tuple(file.name.removesuffix("_mesh.mat") for file in images.files),
            factor_names=self.factors,
            notes=() if len(images.files) == 183 else (few,),
        )
