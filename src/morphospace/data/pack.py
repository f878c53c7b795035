"""A pack: images decoded once to uint8, with their annotations, in memory or as a folder of plain arrays.

On disk a pack is a folder of `manifest.json`, `<split>.images.npy` (uint8, N x H x W x C) and, where the
source has them, `<split>.labels.npy` (int64, N), `<split>.attributes.npy` (uint8 0/1, N x A),
`<split>.factors.npy` (float32, N x F) and `<split>.masks.npy` (uint8 0/1, N x H x W x M). An array of more than
2 GiB lies in several files, `<split>.images.000.npy` and so on, and is read as one. Nothing in it can run code: arrays
without pickles, and JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np

from morphospace.data.headers import array_header
from morphospace.data.shards import Sharded
from morphospace.errors import DataError, SettingError, one_line, shown
from morphospace.files import open_plain, read_bytes
from morphospace.ranges import Between
from morphospace.records import read_json, typed

FORMAT = 1
FORMAT_OF_SEVERAL = 2  # of a pack with an array in several files, so that earlier versions say that they cannot read it
KINDS: Mapping[str, np.dtype[Any]] = {
    "images": np.dtype(np.uint8),
    "labels": np.dtype(np.int64),
    "attributes": np.dtype(np.uint8),
    "factors": np.dtype(np.float32),
    "masks": np.dtype(np.uint8),
}
MOST_CLASSES = 65_536  # labels above are no numbers of classes, which are named, counted and learned one by one
_SPLIT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NAMES = ("label_names", "attribute_names", "factor_names", "mask_names")


def composed(name: str) -> str:
    """Return a name as other systems write it: macOS decomposes letters with accents in the names of files.

    >>> composed("Mu\u0308ller") == "M\u00fcller"
    True
    """
    return unicodedata.normalize("NFC", name)


Count = Annotated[int, Between(0, 2**63 - 1)]
Side = Annotated[int, Between(1, 65_535)]  # of an image, in pixels


class Piece(TypedDict):
    """One of an array's several files."""

    rows: Count
    bytes: Count


class Stored(TypedDict):
    """An array: the size of its file, or of each of several."""

    hash: str
    bytes: NotRequired[Count]
    files: NotRequired[list[Piece]]


class Part(TypedDict):
    """A split."""

    count: Count
    arrays: dict[str, Stored]


class Unread(TypedDict):
    """A file that could not be read."""

    file: str
    reason: str


class Skipped(TypedDict):
    """Files that could not be read, and the first of them."""

    count: Count
    first: list[Unread]


class Ways(TypedDict):
    """How the images were made the same: what run.toml repeats, and more that is only told."""

    crop: NotRequired[Literal["center", "stretch", "pad"]]
    background: NotRequired[str]
    resize: NotRequired[str]
    range: NotRequired[tuple[int | float, int | float] | None]
    transparency: NotRequired[str]


class Met(TypedDict):
    """Which values the files held."""

    transparent: NotRequired[Count]
    deep: NotRequired[Count]
    floats: NotRequired[Count]
    few_colours: NotRequired[Count]
    low: NotRequired[int | float]
    high: NotRequired[int | float]


class Manifest(TypedDict):
    """manifest.json."""

    format: int
    name: str
    shape: tuple[Side, Side, Literal[1, 3]]
    label_names: list[str]
    attribute_names: list[str]
    factor_names: list[str]
    mask_names: list[str]
    hash: str
    splits: dict[str, Part]
    skipped: NotRequired[Skipped]
    rule: NotRequired[Ways]
    values: NotRequired[Met]
    notes: NotRequired[list[str]]


@dataclass(frozen=True, slots=True)
class Split:
    """Images of one split with their annotations; row i of every array is the same image.

    An array may be plain, mapped, or `Sharded` over several files, of which slices and rows can be taken alike.

    Attributes:
        images: uint8, (N, H, W, C).
        labels: int64 class numbers, (N,).
        attributes: uint8 0 or 1, (N, A).
        factors: float32 values of the generative factors, (N, F).
        masks: uint8 0 or 1, (N, H, W, M).
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    attributes: np.ndarray | None = None
    factors: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that this split has, by kind."""
        return {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind) is not None}


@dataclass(frozen=True)
class Pack:
    """All splits of one data set in one shape.

    Attributes:
        name: What the data are called.
        shape: (H, W, C) of every image.
        splits: Split by name; usually `train`, `valid`, `test`.
        label_names: Name of each class number; may be empty though there are labels.
        attribute_names: Name of each column of the attributes.
        factor_names: Name of each column of the factors.
        mask_names: Name of each layer of the masks.
        hash: One hash over all arrays and names: equal hash, equal data.
        path: Its folder; None in memory.
        manifest: What the folder's manifest says; empty in memory.
    """

    name: str
    shape: tuple[int, int, int]
    splits: Mapping[str, Split]
    label_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    mask_names: tuple[str, ...] = ()
    hash: str = ""
    path: Path | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def split(self, name: str) -> Split:
        """The split called `name`.

        Raises:
            DataError: If there is none of that name; the message lists the others.
        """
        if name not in self.splits:
            rule = f"{self.name} has no such split"
            raise DataError(f"split {name!r}", rule=rule, way_out=f"it has {', '.join(self.splits)}")
        return self.splits[name]


def digest(array: np.ndarray) -> str:
    """blake2b of an array's bytes in C order, read in blocks so that a memory map stays on disk."""
    state = hashlib.blake2b(digest_size=16)
    rows = max(1, (8 << 20) // max(1, array.nbytes // max(1, len(array))))
    for first in range(0, len(array), rows):
        state.update(np.ascontiguousarray(array[first : first + rows]).data)
    return state.hexdigest()


def rows_hash(pack: Pack, split: str, rows: np.ndarray) -> str:
    """The hash of some images of a pack: of its own hash, the split's name and the rows."""
    state = hashlib.blake2b(f"{pack.hash} {split} ".encode(), digest_size=16)
    state.update(np.ascontiguousarray(rows, dtype=np.int64).data)
    return state.hexdigest()


def content_hash(
    shape: tuple[int, int, int], names: Mapping[str, tuple[str, ...]], hashes: Mapping[str, Mapping[str, str]]
) -> str:
    """The hash of a pack from its shape, its names and the hash of each array, by split and kind."""
    what = {"shape": list(shape), "names": {key: list(names[key]) for key in _NAMES}, "arrays": hashes}
    return hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=16).hexdigest()


def expected_shape(kind: str, count: int, pack: Pack) -> tuple[int, ...]:
    """The shape an array of `kind` with `count` rows must have in `pack`."""
    height, width, _ = pack.shape
    return {
        "images": (count, *pack.shape),
        "labels": (count,),
        "attributes": (count, len(pack.attribute_names)),
        "factors": (count, len(pack.factor_names)),
        "masks": (count, height, width, len(pack.mask_names)),
    }[kind]


def class_count(split: Split) -> int:
    """One more than the greatest label; 0 if there are no labels, or if they are too large to number classes."""
    count = 0 if split.labels is None else int(split.labels.max()) + 1
    return count if count <= MOST_CLASSES else 0


def check(pack: Pack) -> Pack:
    """Refuse a pack whose arrays do not fit each other.

    Raises:
        DataError: If an array has another shape or type than the rest asks for.
    """
    called = f"pack {pack.name}"
    if not pack.splits:
        raise DataError(called, rule="has no split", way_out="a pack needs at least one, usually 'train'")
    for name, split in pack.splits.items():
        if not _SPLIT_NAME.fullmatch(name):
            raise DataError(called, rule=f"split name {name!r} must be lower-case letters, digits, - and _")
        if len(split) == 0:
            raise DataError(called, rule=f"split {name!r} has no image", way_out="leave it out or fill it")
        for kind, array in split.arrays().items():
            want = expected_shape(kind, len(split), pack)
            if array.dtype != KINDS[kind] or array.shape != want:
                rule = f"{name}.{kind} is {array.dtype} {array.shape}, not {KINDS[kind]} {want}"
                raise DataError(pack.name, rule=rule)
        labels, classes = split.labels, len(pack.label_names)
        if labels is not None and (labels.min() < 0 or (classes and labels.max() >= classes)):
            most = f" nor above {classes - 1}" if classes else ""
            rule = f"{name}.labels run from {labels.min()} to {labels.max()}, must not be negative{most}"
            raise DataError(called, rule=rule)
    return pack


def in_memory_pack(
    name: str,
    train: Split | np.ndarray,
    *,
    label_names: tuple[str, ...] = (),
    attribute_names: tuple[str, ...] = (),
    factor_names: tuple[str, ...] = (),
    mask_names: tuple[str, ...] = (),
    **splits: Split | np.ndarray,
) -> Pack:
    """Make a pack of arrays in memory; nothing is copied or written.

    Args:
        name: What to call it.
        train: The training split, or its images alone: uint8, (N, H, W, C) or grey (N, H, W).
        label_names: Name of each class number.
        attribute_names: Name of each attribute column; `attribute 0`, ... when left out. Likewise for the
            next two.
        factor_names: Name of each factor column.
        mask_names: Name of each mask layer.
        **splits: More splits, such as `valid` and `test`.

    Raises:
        DataError: If the arrays do not fit each other.

    >>> in_memory_pack("noise", np.zeros((3, 8, 8), np.uint8)).shape
    (8, 8, 1)
    """
    every = {key: _as_split(name, key, value) for key, value in {"train": train, **splits}.items()}
    shape: tuple[int, int, int] = every["train"].images.shape[1:]
    names: dict[str, tuple[str, ...]] = {"label_names": tuple(label_names)}
    given = {"attributes": attribute_names, "factors": factor_names, "masks": mask_names}
    for kind, words in given.items():
        array = next((s.arrays()[kind] for s in every.values() if kind in s.arrays()), None)
        word = kind.removesuffix("s")
        made = () if array is None else tuple(f"{word} {i}" for i in range(array.shape[-1]))
        names[f"{word}_names"] = tuple(words) or made
    pack = check(Pack(name, shape, every, **names))  # type: ignore[arg-type]
    hashes = {key: {kind: digest(a) for kind, a in split.arrays().items()} for key, split in every.items()}
    return replace(pack, hash=content_hash(shape, names, hashes))


def _as_split(name: str, key: str, value: Split | np.ndarray) -> Split:
    split = value if isinstance(value, Split) else Split(np.asarray(value))
    images = split.images[..., None] if split.images.ndim == 3 else split.images
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        rule = f"{key}.images has shape {split.images.shape}, must be (N, H, W[, 1 or 3])"
        raise DataError(f"pack {name}", rule=rule)
    return Split(images, split.labels, split.attributes, split.factors, split.masks)


def open_pack(path: str | Path, *, verify: bool = False) -> Pack:
    """Open a pack's folder; arrays are mapped into memory, not read.

    Args:
        path: The folder.
        verify: Also read everything and compare it with the hashes in the manifest.

    Raises:
        DataError: If a file is missing, cut off or changed, or if this is no pack.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    shape: tuple[int, int, int] = manifest["shape"]
    names = {key: tuple(manifest[key]) for key in _NAMES}
    hashes = {
        split: {kind: said["hash"] for kind, said in about["arrays"].items()}
        for split, about in manifest["splits"].items()
    }
    splits = {split: _open_split(path, split, about) for split, about in manifest["splits"].items()}
    pack = Pack(manifest["name"], shape, splits, **names, hash=manifest["hash"], path=path, manifest=manifest)
    if pack.hash != content_hash(shape, names, hashes):
        raise _broken(path, "manifest.json was changed after packing (its hash does not match)")
    check(pack)
    if verify:
        for split, kinds in hashes.items():
            for kind, said in kinds.items():
                if digest(splits[split].arrays()[kind]) != said:
                    files = f"{split}.{kind}{'.*' if isinstance(splits[split].arrays()[kind], Sharded) else ''}.npy"
                    raise _broken(path / files, "content does not match its hash")
    return pack


def _broken(place: Path, rule: str) -> DataError:
    return DataError(place, rule=rule, way_out="pack again")


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    try:
        manifest: dict[str, Any] = read_json(read_bytes(file, links=True))
    except (FileNotFoundError, NotADirectoryError):
        rule = "not a pack, it has no manifest.json"
        raise DataError(path, rule=rule, way_out="give a pack's folder or a source") from None
    except (OSError, ValueError) as error:
        raise _broken(file, f"cannot be read as JSON ({one_line(error)})") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise DataError(file, rule="not the manifest of a pack", way_out="give a pack's folder or a source")
    if manifest["format"] not in (FORMAT, FORMAT_OF_SEVERAL):
        formats = f"{FORMAT} and {FORMAT_OF_SEVERAL}"
        raise _broken(file, f"pack format {shown(manifest['format'])}, this version reads {formats}")
    try:
        read: dict[str, Any] = typed(manifest, Manifest, "manifest")
    except SettingError as error:
        raise _broken(path, f"manifest.json does not say what a pack's must ({error})") from None
    return read


def _open_split(path: Path, split: str, about: Mapping[str, Any]) -> Split:
    if not _SPLIT_NAME.fullmatch(split) or not set(about["arrays"]) <= set(KINDS) or "images" not in about["arrays"]:
        raise _broken(path, f"manifest.json names a split {split!r} that no pack has")
    arrays: dict[str, Any] = {}
    for kind, said in about["arrays"].items():
        stem, files = f"{split}.{kind}", said.get("files")
        if files is None and "bytes" not in said:
            raise _broken(path, f"manifest.json does not say how large {stem} is")
        if files is None:
            arrays[kind] = _mapped(path / f"{stem}.npy", said["bytes"], about["count"])
            continue
        parts = [_mapped(path / array_name(stem, i), one["bytes"], one["rows"]) for i, one in enumerate(files)]
        if len({(part.dtype, part.shape[1:]) for part in parts}) != 1 or sum(map(len, parts)) != about["count"]:
            raise _broken(path, f"the files of {stem} do not fit each other")
        arrays[kind] = Sharded(parts)
    return Split(**arrays)


def array_name(stem: str, number: int) -> str:
    """The name of one of an array's several files."""
    return f"{stem}.{number:03d}.npy"


def _mapped(file: Path, size: int, count: int) -> np.ndarray:
    """Map one array file of a given size and number of rows."""
    try:
        with open_plain(file, links=True) as stream:
            there = os.fstat(stream.fileno()).st_size
            if there != size:
                raise _broken(file, f"has {there:,} bytes, the manifest says {size:,}")
            shape, dtype = array_header(stream, there)
            offset = stream.tell()
        array = np.memmap(file, dtype, "r", offset, shape)
    except DataError:
        raise
    except FileNotFoundError:
        raise _broken(file, "missing from its pack") from None
    except (OSError, ValueError) as error:
        raise _broken(file, f"cannot be read as an array ({one_line(error)})") from None
    if len(array) != count:
        raise _broken(file, f"has {len(array):,} rows, the manifest says {count:,}")
    return array
