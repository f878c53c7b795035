"""`npy:PATH` and `npz:PATH`, read as a stream: nothing is unpickled, and only the rows being packed are in memory."""

from __future__ import annotations

import functools
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from morphospace.data.headers import array_header
from morphospace.data.labels import WANTED, Labels, read_labels
from morphospace.data.pack import KINDS
from morphospace.data.sources.base import Contents, Part, PathSource, SourceInfo, fingerprint
from morphospace.data.sources.layout import SPLITS, listed
from morphospace.data.tables import LabelFile, content_of, given_files, labels_in_order, sorted_classes
from morphospace.data.values import GIVE_RANGE, kind_of_array
from morphospace.errors import DataError, SettingError, one_line
from morphospace.files import open_plain

_STEMS = {
    "images": ("images", "imgs", "x", "data", "arr_0", "image", "img", ""),
    "labels": ("labels", "label", "y", "targets", "arr_1", "target"),
    **{kind: (kind,) for kind in ("attributes", "factors", "masks")},
}
_CLASS_NAMES = ("class_names", "label_names", "classes")
_SMALL = 1 << 30
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError)


class StreamedArray:
    """An array in a file, read by slices; a slice further back starts reading from the beginning again.

    Args:
        file: The array's file.
        member: Its name in there when that is an .npz.

    Raises:
        DataError: If it is no array, holds Python objects, or has fewer bytes than its header promises.
    """

    def __init__(self, file: Path, member: str | None = None) -> None:
        self.file, self.member = file, member
        self.called = f"{file}" + (f" ({member.removesuffix('.npy')})" if member else "")
        self._archive: zipfile.ZipFile | None = None
        try:
            with self._open() as stream:
                self.shape, self.dtype = array_header(stream, self._size())
                self._offset = stream.tell()
        except _BROKEN as error:
            raise self.error(f"cannot be read as an array ({one_line(error)})") from None
        self._stream: IO[bytes] | None = None
        self._at = 0

    def error(self, rule: str, way_out: str = "save it again") -> DataError:
        """Return an error about this array."""
        return DataError(self.called, rule=rule, way_out=way_out)

    def _open(self) -> IO[bytes]:
        if self.member is None:
            return open_plain(self.file, links=True)
        self._archive = self._archive or zipfile.ZipFile(self.file)
        return self._archive.open(self.member)

    def _size(self) -> int:
        if self.member is None:
            return self.file.stat().st_size
        assert self._archive is not None
        return self._archive.getinfo(self.member).file_size

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(len(self))
        each = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        try:
            if self._stream is None or first < self._at:
                self._stream = self._open()
                self._skip(self._offset)
                self._at = 0
            self._skip((first - self._at) * each)
            want = max(0, last - first) * each
            data = self._stream.read(want)
        except _BROKEN as error:
            raise self.error(f"cannot be read ({one_line(error)})") from None
        if len(data) != want:
            raise self.error("is cut off")
        self._at = max(first, last)
        return np.frombuffer(data, self.dtype).reshape(max(0, last - first), *self.shape[1:])

    def _skip(self, count: int) -> None:
        assert self._stream is not None
        if self.member is None:
            self._stream.seek(count, 1)
            return
        while count > 0:
            got = len(self._stream.read(min(count, 1 << 20)))
            if not got:
                raise EOFError("cut off")
            count -= got

    def whole(self) -> np.ndarray:
        """All of it; for small tables."""
        if int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize > _SMALL:
            raise self.error(f"is too large for a table ({self.shape})", "check what it is")
        return self[:]


class ArrayFile:
    """The arrays of an .npz by name, or the one of an .npy as `images`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if file.suffix == ".npy":
            self.names: dict[str, str | None] = {"images": None}
            return
        try:
            with zipfile.ZipFile(file) as archive:
                found = archive.namelist()
        except _BROKEN as error:
            raise DataError(file, rule=f"cannot be read as .npz ({one_line(error)})", way_out="save it again") from None
        self.names = {name.removesuffix(".npy"): name for name in found if name.endswith(".npy")}

    def __getitem__(self, name: str) -> StreamedArray:
        return StreamedArray(self.file, self.names[name])


class _Pictures:
    """Slices of an array of any accepted form, as (n, H, W, C) of its own type."""

    def __init__(self, array: StreamedArray, ranged: bool) -> None:
        shape = array.shape
        self.array, self.first, self.called = array, False, array.called
        if len(shape) == 4:
            last, first = shape[-1], shape[1]
            self.first = last not in (1, 3) and (first in (1, 3) or (last not in (2, 4) and first in (2, 4)))
            shape = (shape[0], shape[2], shape[3], shape[1]) if self.first else shape
        elif len(shape) == 3:
            shape = (*shape, 1)
        if len(shape) != 4 or shape[-1] not in (1, 2, 3, 4) or 0 in shape:
            raise array.error(f"has shape {array.shape}", "must be (N, H, W[, 1 to 4]) or (N, 1 to 4, H, W)")
        if array.dtype.kind not in "biuf":
            raise array.error(f"is {array.dtype}", "must be whole numbers, bool, or floats")
        if kind_of_array(array) == "whole" and not ranged:
            raise array.error(f"is {array.dtype}, which has no range of its own", GIVE_RANGE)
        self.own = (int(shape[1]), int(shape[2]), int(shape[3]))
        self.shape = (*self.own[:2], 3 if shape[3] > 2 else 1)
        self.row_bytes = int(np.prod(self.own, dtype=np.int64)) * array.dtype.itemsize

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice) -> np.ndarray:
        values = self.array[rows]
        return values.transpose(0, 2, 3, 1) if self.first else values.reshape(-1, *self.own)


class Npz(PathSource):
    """`npz:PATH`.

    Images are called `images` (or `x`, `data`, `imgs`), labels `labels` (or `y`), with `attributes`,
    `factors` and `masks` beside them; `train_images` or `x_train` and the like make splits. Labels are class numbers
    or names, one-hot rows, or columns of 0 and 1, which become attributes. With `labels`, a file says them in order.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="npz",
        description="npz:PATH, arrays of NumPy: images, and labels, attributes, factors, masks where there are any",
        licence="yours",
        shape=None,
        where="your own file",
    )
    takes = ("labels", "background", "range")

    def _base(self) -> Path:
        path, kind = super()._base(), self.info.name
        if path.suffix != f".{kind}":
            raise DataError("data", self.settings.data, f"{path.name} does not end in .{kind}", "give such a file")
        return path

    def inputs(self) -> Mapping[str, Any]:
        labels = [fingerprint(path.parent, [path.name]) for path, _, _ in self._label_files]
        return {**super().inputs(), **({"labels": labels} if labels else {})}

    @functools.cached_property
    def _label_files(self) -> list[tuple[Path, str, str]]:
        return given_files(self.settings.labels)

    def _given_labels(self, images: Mapping[str, _Pictures]) -> tuple[Labels, tuple[str, ...]]:
        """Return the labels of `--labels`, a row for each image, and notes."""
        if len(self._label_files) > 1 or len(images) > 1:
            rule = "is several files" if len(images) == 1 else f"is of {', '.join(images)}, whose rows it does not name"
            way_out = "give one file, or keep labels beside the images, as train_labels and test_labels"
            raise SettingError("labels", self.settings.labels, rule, way_out)
        (path, name, column), count = self._label_files[0], len(images["train"])
        if path.suffix == ".npy":
            return read_labels(path, {"train": _label_table(StreamedArray(path), count)}), ()
        values, columns, notes = labels_in_order(LabelFile(name, content_of(path), column), count)
        if columns:
            return read_labels(path, {"train": np.array(values)}, columns), tuple(notes)
        classes = tuple(sorted_classes(map(str, values)))
        numbers = {one: number for number, one in enumerate(classes)}
        return Labels({"train": np.array([numbers[str(value)] for value in values])}, classes), tuple(notes)

    def read(self) -> Contents:
        path = self._base()
        held = ArrayFile(path)
        roles = _roles(held.names)
        if ("train", "images") not in roles:
            known = ", ".join(held.names) or "nothing"
            rule = f"has no images (it holds {known})"
            raise DataError(path, rule=rule, way_out="call the array 'images' or 'train_images'")
        ranged = self.settings.range is not None
        images = {split: _Pictures(held[name], ranged) for (split, kind), name in roles.items() if kind == "images"}
        images = {split: images[split] for split in ("train", "valid", "test") if split in images}
        shapes = {mine.shape for mine in images.values()}
        if len(shapes) > 1:
            raise DataError(path, rule=f"its splits differ in shape ({sorted(shapes)})", way_out="make them one")
        over = ("labels",) if self._label_files else ()
        used = {key: name for key, name in roles.items() if key[0] in images and key[1] not in over}
        tables: dict[tuple[str, str], Any] = {
            (split, kind): _table(held[name], kind, len(images[split]))
            for (split, kind), name in used.items()
            if kind not in ("images", "labels")
        }
        words = {
            f"{kind.removesuffix('s')}_names": tuple(f"{kind.removesuffix('s')} {i}" for i in range(table.shape[-1]))
            for (split, kind), table in tables.items()
            if split == "train"
        }
        labels = {s: _label_table(held[name], len(images[s])) for (s, kind), name in used.items() if kind == "labels"}
        said, notes = self._given_labels(images) if self._label_files else (Labels(), ())
        names = next((name for name in _CLASS_NAMES if name in held.names), None)
        if labels or self._label_files:
            said = read_labels(path, labels) if labels else said
            if said.attributes:
                if ("train", "attributes") in tables:
                    rule = "has attributes, and labels that are columns of 0 and 1"
                    raise DataError(path, rule=rule, way_out="make them one array, attributes")
                tables |= {(split, "attributes"): table for split, table in said.attributes.items()}
                words["attribute_names"] = said.attribute_names
            tables |= {(split, "labels"): table for split, table in said.labels.items()}
        classes = said.names or (_class_names(held[names], said.labels) if names and said.labels else ())
        notes += tuple(f"{split} has no labels" for split in images if labels and split not in labels)
        rest = [name for name in held.names if name not in {*used.values(), *([names] if classes else [])}]
        notes += (f"not read: the arrays {listed(rest)}",) * bool(rest)
        parts = {
            split: replace(Part(mine), **{kind: table for (own, kind), table in tables.items() if own == split})
            for split, mine in images.items()
        }
        return Contents(path.stem, parts, next(iter(shapes)), label_names=classes, notes=notes, **words)


def _roles(names: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the array of each split and kind: `train_images`, `X_train`, `ytest`, and so on; the usual name wins."""
    word = "|".join(sorted(SPLITS, key=len, reverse=True))
    found: dict[tuple[str, str], tuple[tuple[bool, int], str]] = {}
    for name in names:
        for kind, stems in _STEMS.items():
            for rank, stem in enumerate(stems):
                forms = (f"({word})[-_. ]?{stem}", f"{stem}[-_. ]?({word})", f"{stem}()" if stem else "(?!)")
                match = next(filter(None, (re.fullmatch(form, name.lower()) for form in forms)), None)
                if match is not None:
                    key = (SPLITS.get(match[1], "train"), kind)
                    found[key] = min(found.get(key, ((True, len(stems)), name)), ((not match[1], rank), name))
    return {key: name for key, (_, name) in found.items()}


def _label_table(array: StreamedArray, count: int) -> np.ndarray:
    values = array.whole()
    if values.ndim == 0 or len(values) != count:
        raise array.error(f"is {values.dtype} {values.shape} for {count:,} images", WANTED)
    return values


def _class_names(array: StreamedArray, labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of class numbers; none if these are not names, or too few."""
    most = max(int(table.max(initial=-1)) for table in labels.values())
    if array.dtype.kind != "U" or len(array.shape) != 1 or len(array) <= most:
        return ()
    return tuple(array.whole().tolist())


def _table(array: StreamedArray, kind: str, count: int) -> np.ndarray:
    values = array.whole()
    dimensions = {"attributes": 2, "factors": 2, "masks": 4}[kind]
    if values.ndim != dimensions or len(values) != count or values.dtype.kind not in "biuf":
        raise array.error(f"is {values.dtype} {values.shape}", f"must be {dimensions}-d numbers, {count:,} rows")
    exact = values.astype(KINDS[kind])
    if kind != "factors" and not (exact == values).all():
        raise array.error("must be whole numbers", "convert them")
    if kind in ("attributes", "masks") and exact.max(initial=0) > 1:
        raise array.error("must be 0 or 1", "convert it")
    return exact


class Npy(Npz):
    """`npy:PATH`: images alone, or with `labels`."""

    info = SourceInfo(
        name="npy",
        description="npy:PATH, one array of NumPy: images",
        licence="yours",
        shape=None,
        where="your own file",
    )
