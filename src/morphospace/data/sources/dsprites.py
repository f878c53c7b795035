"""dSprites (Matthey et al. 2017): every combination of the factors of a sprite, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from morphospace.data.sources.arrays import ArrayFile, StreamedArray
from morphospace.data.sources.base import Contents, OneOfFiles, Part, SourceInfo, damaged

_FACTORS = ("color", "shape", "scale", "orientation", "posX", "posY")
_SIDE = 64


class _Sprites:
    """0/1 bitmaps as 0 and 255, read a slice at a time: the full file unpacks to 3 GB."""

    def __init__(self, array: StreamedArray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice) -> np.ndarray:
        bits = self.array[rows]
        if bits.max(initial=0) > 1:
            raise self.array.error("must be 0 or 1", "fetch it again")
        return (bits * np.uint8(255))[..., None]


class DSprites(OneOfFiles):
    """The published .npz, of which arrays only are read (its metadata are a pickle, which is never loaded, and
    known constants), or a reduced one: `dsprites:full`, `dsprites:downsampled`, `dsprites:subset`, or just `dsprites`
    for the first of these that is there.

    The label is the shape. Factors are the published values; the colour, always white, is left out.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="dsprites",
        description="737,280 binary sprites, all combinations of 5 factors; or a reduced file",
        licence="Apache-2.0, DeepMind",
        may_be_shown=True,
        shape=(_SIDE, _SIDE, 1),
        where="https://github.com/google-deepmind/dsprites-dataset",
        size="26 MB",
    )

    classes: ClassVar[tuple[str, ...]] = ("square", "ellipse", "heart")
    files: ClassVar[Mapping[str, str]] = {
        "full": "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        "downsampled": "dsprites_downsampled.npz",
        "subset": "dsprites_subset.npz",
    }
    # No checksum of the published file is known to us, and nothing unchecked is downloaded.
    refusal = "must be fetched by hand"

    def _manual(self) -> str:
        return f"put {self.files['full']} (26 MB) from {self.info.where} into {self._folders()[0]}"

    def read(self) -> Contents:
        found = self._located()[1]
        held = ArrayFile(found)
        missing = [name for name in ("imgs", "latents_values", "latents_classes") if name not in held.names]
        if missing:
            raise damaged(found, f"lacks {' and '.join(missing)}")
        images, values = held["imgs"], held["latents_values"].whole()
        classes = held["latents_classes"].whole()
        columns = _FACTORS[-values.shape[-1] :] if values.ndim == 2 else ()
        fits = values.shape == classes.shape == (len(images), len(columns)) and len(columns) >= 5
        if images.shape[1:] != (_SIDE, _SIDE) or images.dtype != np.uint8 or not fits:
            raise damaged(found, f"arrays of {images.shape}, {values.shape}, {classes.shape} do not fit")
        labels = classes[:, columns.index("shape")].astype(np.int64)
        part = Part(images=_Sprites(images), labels=labels, factors=values[:, -5:].astype(np.float32))
        name = self._variant(found)
        return Contents(
            "dsprites" if name == "full" else f"dsprites-{name}",
            {"train": part},
            (_SIDE, _SIDE, 1),
            label_names=self.classes,
            factor_names=_FACTORS[1:],
            notes=() if name == "full" else (f"dsprites: this is the {name} file, {len(images):,} of 737,280 images",),
        )
