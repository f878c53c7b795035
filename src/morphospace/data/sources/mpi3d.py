"""MPI3D (Gondal et al. 2019): a robot's arm with an object, in all combinations of seven factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from morphospace.data.sources.arrays import ArrayFile
from morphospace.data.sources.base import Contents, OneOfFiles, Part, SourceInfo, damaged

_GRIDS = ((6, 6, 2, 3, 3, 40, 40), (4, 4, 2, 3, 3, 40, 40))
_KINDS = 5  # factors that are kinds; the other two are places of the arm
_SIDE = 64


def grid(sizes: tuple[int, ...]) -> np.ndarray:
    """Return the numbers of the states in every combination, the last factor changing fastest, (N, F).

    >>> grid((2, 2)).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return np.indices(sizes).reshape(len(sizes), -1).T


class Mpi3d(OneOfFiles):
    """A published .npz, whose images stand in the order of their factors: `mpi3d:toy`, `mpi3d:realistic`, `mpi3d:real`
    or `mpi3d:real_complex`, or just `mpi3d` for the first of these that is there.

    The label is the object's shape. Factors are the numbers of the published tables; the arm's places run from 0 to 1.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="mpi3d",
        description="460,800 or more images of a robot's arm, drawn or photographed, 7 factors",
        licence="CC BY 4.0",
        may_be_shown=True,
        shape=(_SIDE, _SIDE, 3),
        where="https://huggingface.co/datasets/waleedgondal/mpi3d",
        size="up to 12.7 GB",
    )
    files: ClassVar[Mapping[str, str]] = {
        name: f"mpi3d_{name}.npz" for name in ("toy", "realistic", "real", "real_complex")
    }
    refusal = "must be fetched by hand, for its size"
    factors: ClassVar[tuple[str, ...]] = (
        *("object_color", "object_shape", "object_size", "camera_height", "background_color"),
        *("horizontal_axis", "vertical_axis"),
    )

    def _manual(self) -> str:
        file = self.files.get(self._asked(), self.files["toy"])
        return f"put {file} from {self.info.where} into {self._folders()[0]}"

    def read(self) -> Contents:
        file = self._located()[1]
        held = ArrayFile(file)
        if "images" not in held.names:
            raise damaged(file, "lacks images")
        images = held["images"]
        sizes = next((sizes for sizes in _GRIDS if math.prod(sizes) == len(images)), None)
        if sizes is None or images.shape[1:] != (_SIDE, _SIDE, 3) or images.dtype != np.uint8:
            counts = " or ".join(f"{math.prod(sizes):,}" for sizes in _GRIDS)
            raise damaged(file, f"has images {images.shape} of {images.dtype}, must have {counts} of 64x64x3 bytes")
        states = grid(sizes)
        factors = states.astype(np.float32)
        factors[:, _KINDS:] /= np.maximum(1, np.array(sizes[_KINDS:], np.float32) - 1)
        part = Part(images=images, labels=states[:, 1].astype(np.int64), factors=factors)
        return Contents(f"mpi3d-{self._variant(file)}", {"train": part}, (_SIDE, _SIDE, 3), factor_names=self.factors)
