"""Any tree of image files."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.decode import Blob
from morphospace.data.sources.base import SPLITS, Contents, Part, PathSource, SourceInfo, fingerprint, own_shape
from morphospace.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
NO_IMAGE = f"has no image file ({', '.join(ending[1:] for ending in ENDINGS)})"
_NAMED = frozenset(f"{name}/" for name in SPLITS)


class ImageTree(PathSource):
    """A tree of image files, in a folder or an archive: `_names` lists them, `_blob` gives one of them."""

    takes = ("classes", "background", "range")

    @abstractmethod
    def _names(self) -> list[str]:
        """Relative names of all images, sorted; at least one."""

    @abstractmethod
    def _blob(self, base: Path, name: str) -> Blob:
        """What to decode for one of them."""

    def _found(self) -> list[str]:
        return self._names()

    def read(self) -> Contents:
        base, names = self._base(), self._names()
        splits, at = _splits(base, names)
        classes = _classes(base, names, at) if self.settings.classes else ()
        number = {name: i for i, name in enumerate(classes)}
        parts = {}
        for split, mine in splits.items():
            labels = np.array([number[n.split("/")[at]] for n in mine], np.int64) if classes else None
            parts[split] = Part(files=_Blobs(self._blob, base, mine), labels=labels, names=mine)
        called, words = base.resolve().name or "folder", tuple(map(_readable, classes))
        blobs = ((name, self._blob(base, name)) for name in names)
        shape = own_shape(base, blobs, self.settings, images=f"{len(names):,} image files")
        return Contents(called, parts, shape, label_names=words, notes=_notes(names))


class Folder(ImageTree):
    """`folder:PATH`: the images below PATH in the order of their names.

    Top-level folders `train`, `valid` (or `val`, `validation`) and `test` are splits when there is a `train` and
    nothing else; other folders beside them make them classes, or parts of one set. With `classes`, the first folder
    below (the split) is the class. Hidden files are skipped.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="folder",
        description="folder:PATH, any tree of image files; subfolders may be splits and classes",
        licence="yours",
        shape=None,
        where="your own files",
    )
    form = ("folder", "PATH")

    def _base(self) -> Path:
        path = Path(self._text()).expanduser()
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise DataError("data", self.settings.data, f"{path} {what}", "give a folder of images")
        return path

    def _names(self) -> list[str]:
        """The names; a folder reached twice through links is read once."""
        base = self._base()
        seen: set[tuple[int, int]] = set()
        names: list[str] = []
        for place, folders, files in os.walk(base, followlinks=True):
            about = os.stat(place)  # noqa: PTH116 - `place` is a string here
            if (about.st_dev, about.st_ino) in seen:
                folders.clear()
                continue
            seen.add((about.st_dev, about.st_ino))
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
            prefix = Path(place).relative_to(base)
            wanted = [f for f in files if f.lower().endswith(ENDINGS) and not f.startswith(".")]
            names += [(prefix / f).as_posix() for f in wanted if (Path(place) / f).is_file()]
        if not names:
            raise DataError(base, rule=NO_IMAGE, way_out="check the path")
        return sorted(names)

    def _blob(self, base: Path, name: str) -> Blob:
        return str(base / name)

    def inputs(self) -> Mapping[str, Any]:
        return fingerprint(self._base(), self._names())


class _Blobs(Sequence[Blob]):
    """What to decode, by position, made on demand: there may be millions."""

    def __init__(self, make: Callable[[Path, str], Blob], base: Path, names: Sequence[str]) -> None:
        self.make, self.base, self.names = make, base, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self.make(self.base, name) for name in self.names[at]]
        return self.make(self.base, self.names[at])


def _readable(name: str) -> str:
    """Return a file's name as text that can be written; other bytes become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _tops(names: Sequence[str]) -> set[str]:
    """First part of every name, with a slash when it is a folder."""
    return {n.split("/")[0] + "/" if "/" in n else n for n in names}


def _splits(base: Path, names: Sequence[str]) -> tuple[dict[str, list[str]], int]:
    """Names by split, and which part of a name is then its class folder."""
    tops = _tops(names)
    loose = sorted(top for top in tops if not top.endswith("/"))
    if "train/" in tops and len(tops & _NAMED) > 1 and loose:
        rule = f"has the splits {', '.join(sorted(tops & _NAMED))} and beside them {loose[0]}, which is in no split"
        raise DataError(base, rule=rule, way_out="move it into one, or away")
    if "train/" not in tops or not tops <= _NAMED:
        return {"train": list(names)}, 0
    if len({name for name in SPLITS if SPLITS[name] == "valid"} & {top.rstrip("/") for top in tops}) > 1:
        raise DataError(base, rule="has more than one of val, valid and validation", way_out="keep one of them")
    by_split = {split: [n for n in names if SPLITS[n.split("/")[0]] == split] for split in ("train", "valid", "test")}
    return {split: mine for split, mine in by_split.items() if mine}, 1


def _notes(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note if folders are named like splits but other folders beside them make them none."""
    tops = _tops(names)
    named, others = sorted(top.rstrip("/") for top in tops & _NAMED), sorted(tops - _NAMED)
    if len(named) < 2 or not others:
        return ()
    return (f"{', '.join(named)} are no splits with {others[0]} beside them; all are for training",)


def _classes(base: Path, names: Sequence[str], at: int) -> tuple[str, ...]:
    for name in names:
        if name.count("/") <= at:
            rule = f"{name} is in no class folder"
            raise DataError(base, rule=rule, way_out="move it into one, or leave classes off")
    return tuple(sorted({name.split("/")[at] for name in names}))
