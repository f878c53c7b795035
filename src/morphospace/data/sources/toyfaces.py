"""Procedural faces with exact labels, attributes, factors and part masks: no files, any number, any size."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from morphospace.data.faces.painter import PARTS, WHOLE, paint
from morphospace.data.faces.traits import ATTRIBUTES, FACTORS, HAIR_STYLES, draw_traits
from morphospace.data.sizes import parse_background, parse_size
from morphospace.data.sources.base import Contents, Part, Source, SourceInfo
from morphospace.errors import SettingError, nearest

VERSION = 1  # raised whenever a face of a given seed and number comes to look different
PAINTING = 2  # raised whenever it does where the background is painted over
_SIDE = 64
_COUNT, _MOST, _HELD_OUT = 10_000, 10_000_000, 1_000
_USUAL = ("skin", "hair", "eyes", "mouth", "glasses")
# Where the numbers of each split's faces begin: far enough apart that no two splits share a face.
_BEGIN = {"train": 0, "valid": 1 << 40, "test": 1 << 41}
_AT_ONCE = 32  # faces whose layers still fit the cache


def draw_faces(
    seed: int,
    rows: np.ndarray,
    side: int = _SIDE,
    parts: tuple[str | tuple[str, ...], ...] = (),
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw faces by their numbers.

    Args:
        seed: Of the set.
        rows: Numbers of the faces, (B,).
        side: Height and width in pixels.
        parts: Of which parts to give masks; `face` is all of them, and several in a tuple are one mask.
        threads: Drawn by so many at once; as many as cores when None.

    Returns:
        uint8 (B, side, side, 3), and uint8 0 or 1 (B, side, side, M) or None.
    """
    images = np.empty((len(rows), side, side, 3), np.uint8)
    masks = np.empty((len(rows), side, side, len(parts)), np.uint8) if parts else None
    block = max(1, min(_AT_ONCE, _AT_ONCE * _SIDE**2 // side**2))

    def one(first: int) -> None:
        at = slice(first, first + block)
        images[at], drawn = paint(draw_traits(seed, rows[at]), side, parts)
        if masks is not None and drawn is not None:
            masks[at] = drawn

    starts = range(0, len(rows), block)
    threads = os.cpu_count() or 1 if threads is None else threads
    if threads <= 1 or len(starts) == 1:
        for first in starts:
            one(first)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, starts))
    return images, masks


class _Faces:
    """Faces that are drawn a slice at a time, on demand; masks of the last slices are kept until they are read."""

    def __init__(self, seed: int, begin: int, count: int, side: int, parts: tuple[str, ...]) -> None:
        self.seed, self.begin, self.count, self.side, self.parts = seed, begin, count, side, parts
        self.background: tuple[int, int, int] | None = None
        self.kept: tuple[str, ...] = ()  # what a background leaves; the whole face where it is empty
        self.waiting: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return self.count

    def rows(self, at: slice) -> np.ndarray:
        return np.arange(*at.indices(self.count)) + self.begin

    def __getitem__(self, at: slice) -> np.ndarray:
        rows = self.rows(at)
        painted = self.background is not None
        parts: tuple[str | tuple[str, ...], ...] = self.parts
        if painted:
            parts = (*parts, self.kept or (WHOLE,))
        images, masks = draw_faces(self.seed, rows, self.side, parts)
        if masks is not None:
            if painted:
                images[masks[..., -1] == 0] = self.background
            self.waiting[int(rows[0])] = masks[..., : len(self.parts)]
            while len(self.waiting) > 2:
                self.waiting.popitem(last=False)
        return images

    def take_masks(self, at: slice) -> np.ndarray:
        rows = self.rows(at)
        if len(rows) and len(self.waiting.get(int(rows[0]), ())) == len(rows):
            return self.waiting.pop(int(rows[0]))
        masks = draw_faces(self.seed, rows, self.side, self.parts)[1]
        assert masks is not None
        return masks


class _Masks:
    def __init__(self, faces: _Faces) -> None:
        self.faces = faces

    def __len__(self) -> int:
        return self.faces.count

    def __getitem__(self, at: slice) -> np.ndarray:
        return self.faces.take_masks(at)


class ToyFaces(Source):
    """`toyfaces`, `toyfaces:COUNT` or `toyfaces:COUNT:SEED`.

    Face i of a seed is a function of (seed, i) alone, drawn at the size asked for (the longer side, cropped where
    height and width differ), the same bytes on every machine. Traits are independent of each other; labels are hair
    styles. Validation and test hold 1,000 faces each, or a tenth of the training faces if that is less. Masks are of
    the parts chosen, `all` for each there is, or `face` for the whole figure in one, which suits mask-vae best.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="toyfaces",
        description="drawn faces with labels, attributes, factors and masks; toyfaces:COUNT:SEED, 10,000 by default",
        licence="none needed; drawn by this library",
        may_be_shown=True,
        shape=(_SIDE, _SIDE, 3),
        where="drawn on the spot; nothing to download",
        size="none",
    )

    classes: ClassVar[tuple[str, ...]] = HAIR_STYLES
    variants = True
    takes = ("parts", "background")

    def _asked(self) -> tuple[int, int]:
        words = self.settings.data.split(":")[1:]
        if len(words) > 2 or not all(re.fullmatch("[0-9]{1,18}", word.replace("_", "")) for word in words):
            raise SettingError("data", self.settings.data, "write toyfaces, toyfaces:COUNT or toyfaces:COUNT:SEED")
        count, seed = (*map(int, words), *(_COUNT, 0)[len(words) :])
        if not 10 <= count <= _MOST:
            raise SettingError("data", self.settings.data, f"the count must be from 10 to {_MOST:,}", "10000 is usual")
        return count, seed

    def _parts(self) -> tuple[str, ...]:
        chosen = self.settings.parts
        for part in chosen:
            if part not in ("all", WHOLE, *PARTS):
                known = nearest(part, (WHOLE, *PARTS))
                raise SettingError("parts", ",".join(chosen), f"toyfaces has no {part!r}{known}")
        return tuple(PARTS) if "all" in chosen else tuple(dict.fromkeys(chosen)) or _USUAL

    def here(self) -> bool:
        return True

    def identity(self) -> str:
        count, seed = self._asked()
        return f"{count}:{seed}"

    def inputs(self) -> Mapping[str, Any]:
        painted = parse_background(self.settings.background) is not None
        return {"version": VERSION, **({"painting": PAINTING} if painted else {})}

    def read(self) -> Contents:
        count, seed = self._asked()
        side = max(parse_size(self.settings.size) or (_SIDE, _SIDE))
        parts = self._parts()
        held_out = max(1, min(_HELD_OUT, count // 10))
        made = {}
        for split, begin in _BEGIN.items():
            faces = _Faces(seed, begin, count if split == "train" else held_out, side, parts)
            faces.background = parse_background(self.settings.background)
            faces.kept = parts if self.settings.parts else ()
            traits = draw_traits(seed, faces.rows(slice(None)))
            made[split] = Part(
                images=faces,
                labels=traits.hair_style,
                attributes=traits.attributes(),
                factors=traits.factors(),
                masks=_Masks(faces),
            )
        return Contents(
            "toyfaces",
            made,
            (side, side, 3),
            label_names=self.classes,
            attribute_names=ATTRIBUTES,
            factor_names=FACTORS,
            mask_names=parts,
        )
