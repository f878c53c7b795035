"""Captions of images from their labels, attributes or factors, and masks as maps in colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from morphospace.data.pack import Pack, Split
from morphospace.errors import SettingError
from morphospace.pictures.lettering import LINE, cut, text_width, write
from morphospace.pictures.sheet import grid, grid_of_pairs

Captions = Literal["auto", "classes", "attributes", "factors", "none"]
LINES = {"attributes": 3, "factors": 6}
# Far apart in hue or brightness from those before, none of them as dark as the black around them.
COLOURS = (
    "ffd8b1", "4363d8", "ffe119", "e6194b", "42d4f4", "9a6324", "dcbeff", "3cb44b", "f58231", "911eb4",
    "bfef45", "f032e6", "469990", "fabed4", "800000", "aaffc3", "808000", "a9a9a9", "fffac8", "0000b0",
)  # fmt: skip


def draw_split(
    pack: Pack, split: Split, rows: np.ndarray, captions: Captions = "auto", *, masks: bool = False
) -> Image.Image:
    """Draw some images of a split in a grid, with captions.

    Args:
        pack: Holds the names.
        split: One of its splits.
        rows: Which images.
        captions: What to write under each.
        masks: Put the masks beside each image, a colour a part, and say below which colour is which.

    Raises:
        SettingError: If the images have no such annotation.
    """
    words = captions_of(pack, split, rows, captions)
    images = np.asarray(split.images[rows])
    if not masks:
        return grid(images, captions=words)
    if split.masks is None:
        rule = f"{pack.name} has no masks"
        raise SettingError("masks = True", rule=rule, way_out="leave it out, or show toyfaces or celebamask-hq")
    sheet = grid_of_pairs(images, map_of_masks(np.asarray(split.masks[rows])), captions=words)
    return with_legend(sheet, pack.mask_names)


def captions_of(pack: Pack, split: Split, rows: np.ndarray, kind: Captions = "auto") -> list[str] | None:
    """Return short captions of some images of a split, from their annotations.

    Attributes are those an image has, the rarest of the split first, for they tell most. Where there are more than
    fit, the caption ends with how many.

    Args:
        pack: Holds the names.
        split: One of its splits.
        rows: Which images.
        kind: What to say; `auto` is the first of classes, attributes and factors that there is.

    Returns:
        A caption each; None where nothing is to be said.

    Raises:
        SettingError: If the images have no such annotation.
    """
    known: Mapping[str, np.ndarray | None] = {
        "classes": split.labels,
        "attributes": split.attributes,
        "factors": split.factors,
    }
    present = [name for name, table in known.items() if table is not None]
    if kind == "none" or (kind == "auto" and not present):
        return None
    chosen = present[0] if kind == "auto" else kind
    if chosen not in present:
        rest = f"it has {', '.join(present)}" if present else "nothing is known of its images"
        raise SettingError("captions", kind, f"{pack.name} has no {kind}", f"{rest}, or say none")
    say: Mapping[str, Callable[[Pack, Split, np.ndarray], list[str]]] = {
        "classes": _classes,
        "attributes": _attributes,
        "factors": _factors,
    }
    return say[chosen](pack, split, rows)


def _classes(pack: Pack, split: Split, rows: np.ndarray) -> list[str]:
    assert split.labels is not None
    return [_plain(pack.label_names[n]) if pack.label_names else str(n) for n in split.labels[rows].tolist()]


def _attributes(pack: Pack, split: Split, rows: np.ndarray) -> list[str]:
    assert split.attributes is not None
    rarest = np.argsort(np.sum(split.attributes, axis=0, dtype=np.int64), kind="stable")
    names = [_plain(pack.attribute_names[i]) for i in rarest]
    table = split.attributes[rows][:, rarest]
    return [_listed([names[i] for i in np.flatnonzero(row)], LINES["attributes"]) for row in table]


def _factors(pack: Pack, split: Split, rows: np.ndarray) -> list[str]:
    assert split.factors is not None
    names = [_plain(name) for name in pack.factor_names]
    table = [[f"{name} {value:.2g}" for name, value in zip(names, row, strict=True)] for row in split.factors[rows]]
    return [_listed(lines, LINES["factors"]) for lines in table]


def _listed(words: Sequence[str], most: int) -> str:
    if len(words) > most:
        words = [*words[:most], f"and {len(words) - most} more"]
    return "\n".join(words)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def part_colours(count: int) -> np.ndarray:
    """Return uint8 (count, 3): a colour a part, from the start again after twenty; white where there is one part."""
    if count == 1:
        return np.full((1, 3), 255, np.uint8)
    return np.array([tuple(bytes.fromhex(COLOURS[i % len(COLOURS)])) for i in range(count)], np.uint8)


def map_of_masks(masks: np.ndarray) -> np.ndarray:
    """Paint masks (N, H, W, M) of 0 and 1 in a colour a part on black, later parts over earlier ones.

    Returns:
        uint8 (N, H, W, 3).
    """
    painted = np.zeros((*masks.shape[:3], 3), np.uint8)
    for i, colour in enumerate(part_colours(masks.shape[-1])):
        painted[masks[..., i] > 0] = colour
    return painted


def with_legend(picture: Image.Image, names: Sequence[str]) -> Image.Image:
    """Return the picture, in colour, over a line or several that say which colour is which part."""
    places, x, y = [], 4, 4
    names = [cut(name, max(40, picture.width - LINE - 8)) for name in names]
    for name in names:
        step = LINE + 16 + int(text_width(name))
        if x > 4 and x + step > picture.width:
            x, y = 4, y + LINE + 3
        places.append((x, y))
        x += step
    whole = Image.new("RGB", (picture.width, picture.height + y + LINE + 4), "white")
    whole.paste(picture, (0, 0))
    pen = ImageDraw.Draw(whole)
    for name, colour, (left, top) in zip(names, part_colours(len(names)).tolist(), places, strict=True):
        top += picture.height
        pen.rectangle((left, top + 1, left + LINE - 3, top + LINE - 2), fill=tuple(colour), outline=(40, 40, 40))
        write(pen, (left + LINE + 1, top), name, (40, 40, 40))
    return whole
