"""3D Shapes (Burgess and Kim 2018): a thing in a room, in all combinations of six factors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.sources.arrays import ArrayFile
from morphospace.data.sources.base import Contents, Part, SourceInfo, damaged
from morphospace.data.sources.published import Published
from morphospace.errors import MissingExtra, one_line

_FILES = (
    "3dshapes.h5",
    "3dshapes.npz",
    "look-at-object-room_floor-hueXwall-hueXobj-hueXobj-sizeXobj-shapeXview-azi.npz",
)
_SIDE = 64


class Shapes3d(Published):
    """The published `3dshapes.h5`, which needs h5py, or an .npz of its arrays `images` and `labels`.

    The label is the object's shape. Factors are the published values.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="shapes3d",
        description="480,000 images of a thing in a room, all combinations of 6 factors",
        licence="Apache-2.0, DeepMind",
        may_be_shown=True,
        shape=(_SIDE, _SIDE, 3),
        where="https://storage.googleapis.com/3d-shapes",
        size="268 MB",
    )
    folders = ("shapes3d", "3dshapes", "3d-shapes")
    mirrors = ("https://storage.googleapis.com/3d-shapes",)
    sha256: ClassVar[Mapping[str, str]] = {
        "3dshapes.h5": "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
    }
    classes: ClassVar[tuple[str, ...]] = ("cube", "cylinder", "sphere", "capsule")
    factors: ClassVar[tuple[str, ...]] = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")

    def _files(self, folder: Path) -> dict[str, Path]:
        return {name: folder / name for name in _FILES if (folder / name).is_file()}

    def _missing(self, found: Mapping[str, Path]) -> list[str]:
        return [] if found else [_FILES[0]]

    def read(self) -> Contents:
        file = next(iter(self._located().values()))
        images, labels = _from_hdf5(file) if file.suffix == ".h5" else _from_npz(file)
        count = len(images)
        if images.shape[1:] != (_SIDE, _SIDE, 3) or images.dtype != np.uint8 or labels.shape != (count, 6):
            rule = f"has images {images.shape} of {images.dtype} and labels {labels.shape}, which do not fit"
            raise damaged(file, rule)
        shapes = labels[:, self.factors.index("shape")]
        if not np.isin(shapes, range(len(self.classes))).all():
            raise damaged(file, "has shapes other than 0 to 3")
        part = Part(images=images, labels=shapes.astype(np.int64), factors=labels.astype(np.float32))
        few = f"shapes3d: {count:,} of 480,000 images are here"
        return Contents(
            "shapes3d",
            {"train": part},
            (_SIDE, _SIDE, 3),
            label_names=self.classes,
            factor_names=self.factors,
            notes=() if count == 480_000 else (few,),
        )


def _from_npz(file: Path) -> tuple[Any, np.ndarray]:
    """Return the images, to be read by slices, and the factors; both may stand in a grid of the factors."""
    held = ArrayFile(file)
    if lost := [name for name in ("images", "labels") if name not in held.names]:
        raise damaged(file, f"lacks {' and '.join(lost)}")
    images, labels = held["images"], held["labels"].whole()
    if len(images.shape) < 3 or not labels.size or labels.dtype.kind not in "iuf":
        raise damaged(file, f"has images {images.shape} and labels {labels.shape}, which do not fit")
    images.shape = (int(np.prod(images.shape[:-3])), *images.shape[-3:])
    return images, labels.reshape(-1, labels.shape[-1])


def _from_hdf5(file: Path) -> tuple[Any, np.ndarray]:
    """Return the same of the published file. Arrays that lie in other files are refused: one could name any file here.

    Raises:
        DataError: If it is damaged, or none of these arrays stands in the file itself.
        MissingExtra: If h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        rule = f"{file.name} needs the extra 'hdf5'"
        raise MissingExtra("data=shapes3d", rule=rule, way_out="pip install 'morphospace[hdf5]'") from None
    try:
        held = h5py.File(file, "r")
        arrays = []
        for name in ("images", "labels"):
            link = held.get(name, getlink=True)
            array = held[name] if isinstance(link, h5py.HardLink) else None
            if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
                raise ValueError(f"it has no array {name} of its own")
            arrays.append(array)
        return arrays[0], arrays[1][:]
    except Exception as error:  # h5py raises what its many layers do
        raise damaged(file, f"cannot be read as HDF5 ({one_line(error)})") from None
