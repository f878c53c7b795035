"""Any tree of image files."""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.formats import HEAD_BYTES, NO_IMAGE, TABLES, Listing, is_junk, sorted_out
from morphospace.data.labels import Labels, read_labels
from morphospace.data.opening import Blob
from morphospace.data.sources.base import Contents, Part, PathSource, SourceInfo, fingerprint, own_shape
from morphospace.data.sources.layout import Layout, find_layout, listed, split_in
from morphospace.data.tables import LabelFile, Labelled, content_of, given_file, labels_of, sorted_classes
from morphospace.errors import DataError, SettingError

_RULES = 3  # of what folders mean and which files are images; packs made under others are made again


class ImageTree(PathSource):
    """A tree of image files, in a folder or an archive: `_listing` sorts them out, `_blob` gives one of them."""

    takes = ("classes", "labels", "background", "range")

    @abstractmethod
    def _list(self) -> Listing:
        """All files."""

    @abstractmethod
    def _blob(self, base: Path, name: str) -> Blob:
        """What to decode for one of the images."""

    @abstractmethod
    def _content(self, name: str) -> bytes:
        """All bytes of a file of labels that is no image."""

    @functools.cached_property
    def _listing(self) -> Listing:
        """All files, of which at least one is an image.

        Raises:
            DataError: If none is.
        """
        found = self._list()
        if not found.images:
            raise DataError(self._base(), rule=NO_IMAGE, way_out="; ".join(found.notes()) or "check the path")
        return found

    def _found(self) -> Sequence[str]:
        return self._listing.images

    def inputs(self) -> Mapping[str, Any]:
        labels = [fingerprint(path.parent, [path.name]) for _, path, _ in self._label_files if path is not None]
        return {**self._files(), **({"labels": labels} if labels else {}), "rules": _RULES}

    def _files(self) -> Mapping[str, Any]:
        """A fingerprint of the files."""
        return super().inputs()

    @functools.cached_property
    def _label_files(self) -> list[tuple[str, Path | None, str]]:
        """Name (as in the tree, if it lies there), path if it was given by one, and column, of each file of labels.

        Raises:
            SettingError: If there is none of that name.
        """
        found: list[tuple[str, Path | None, str]] = []
        for text in self.settings.labels:
            path, name, column = given_file(text)
            if path is not None:
                whole, base = path.resolve(), self._base().resolve()
                found.append((whole.relative_to(base).as_posix() if whole.is_relative_to(base) else name, path, column))
                continue
            # Of a set that was moved, its file of labels was moved too.
            end = Path(name).name if Path(name).is_absolute() else name
            inside = [other for other in self._listing.others if f"/{other}".endswith(f"/{end}")]
            if not inside:
                there = [other for other in self._listing.others if other.lower().endswith(TABLES)]
                way_out = f"there is {listed(there)}" if there else "check the path"
                raise SettingError("labels", text, "there is no such file, here or among the images", way_out)
            found += [(other, None, column) for other in inside]
        return found

    def _labelled(self, names: Sequence[str], layout: Layout) -> Labelled | None:
        """Return what files of labels say; None where none are asked for."""
        files = []
        for name, path, column in self._label_files:
            content = self._content(name) if path is None else content_of(path)
            folder = name[: name.rfind("/") + 1] if name in self._listing.others else ""
            files.append(LabelFile(name, content, column, folder, split_in(name.rpartition("/")[2])))
        return labels_of(files, names, layout.split) if files else None

    def read(self) -> Contents:
        base, names = self._base(), self._listing.images
        layout = find_layout(base, {name.rpartition("/")[0] for name in names})
        notes = [*layout.notes, *self._listing.notes([name for name, _, _ in self._label_files])]
        said, found, classes = self._labelled(names, layout), Labels(), tuple[str, ...]()
        by_split: dict[str, list[str]] = {split: [] for split in ("train", "valid", "test")}
        for name in names:
            if said is None or name in said.values:
                by_split[layout.split(name)].append(name)
        by_split = {split: mine for split, mine in by_split.items() if mine}
        if self.settings.classes:
            classes = _classes(base, names, layout)
            number = {name: i for i, name in enumerate(classes)}
            found = Labels({s: np.array([number[layout.label(n) or ""] for n in mine]) for s, mine in by_split.items()})
            if len(classes) == 1:
                notes.append(f"all images are of one class, {classes[0]}: each class must have a folder of its own")
        elif said is not None:
            notes += said.notes
            tables: dict[str, Any] = {split: [said.values[n] for n in mine] for split, mine in by_split.items()}
            if said.columns:
                found = read_labels(base, {split: np.array(table) for split, table in tables.items()}, said.columns)
                classes = found.names
            else:
                classes = tuple(sorted_classes(str(value) for value in said.values.values()))
                number = {name: i for i, name in enumerate(classes)}
                found = Labels({split: np.array([number[value] for value in table]) for split, table in tables.items()})
        if "train" not in by_split:
            raise DataError(base, rule="has no image for training", way_out="; ".join(notes) or "check the folders")
        parts = {
            split: Part(
                files=_Blobs(self._blob, base, mine),
                labels=found.labels.get(split),
                attributes=found.attributes.get(split),
                names=mine,
            )
            for split, mine in by_split.items()
        }
        called, words = base.resolve().name or "folder", tuple(map(_readable, classes))
        blobs = ((name, self._blob(base, name)) for name in names)
        shape = own_shape(base, blobs, self.settings, images=f"{len(names):,} image files")
        readable, columns = tuple(map(_readable, notes)), tuple(map(_readable, found.attribute_names))
        return Contents(called, parts, shape, label_names=words, attribute_names=columns, notes=readable)


class Folder(ImageTree):
    """`folder:PATH`: the images below PATH in the order of their names.

    Folders named like splits (`layout.SPLITS`, in any case) are splits if one is `train` and all beside them are splits
    too. Otherwise a note says that all images are for training. A single folder that holds everything is passed over.
    With `classes`, the first folder below the split is the class. Hidden files are skipped, and all others are counted.
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

    def _list(self) -> Listing:
        """All files; a folder reached twice through links is read once, and links to nothing are no images."""
        base = self._base()
        seen: set[tuple[int, int]] = set()
        names: list[str] = []
        others: dict[str, str] = {}

        def closed(error: OSError) -> None:
            others[Path(error.filename).relative_to(base).as_posix()] = (
                f"folder that cannot be opened ({error.strerror})"
            )

        for place, folders, files in os.walk(base, followlinks=True, onerror=closed):
            about = os.stat(place)  # noqa: PTH116 - `place` is a string here
            if (about.st_dev, about.st_ino) in seen:
                folders.clear()
                continue
            seen.add((about.st_dev, about.st_ino))
            folders[:] = sorted(f for f in folders if not is_junk(f))
            prefix = Path(place).relative_to(base).as_posix() + "/"
            for file in files:
                name = (prefix if prefix != "./" else "") + file
                if os.path.isfile(os.path.join(place, file)):  # noqa: PTH113, PTH118 - a Path a file is slow
                    names.append(name)
                elif not file.startswith("."):
                    others[name] = "link to nothing" if os.path.islink(base / name) else "special file"  # noqa: PTH114
        found = sorted_out(names, lambda name: _head(base / name))
        return Listing(found.images, {**others, **found.others})

    def _blob(self, base: Path, name: str) -> Blob:
        return str(base / name)

    def _content(self, name: str) -> bytes:
        return content_of(self._base() / name)

    def _files(self) -> Mapping[str, Any]:
        found, inside = self._listing, [name for name, path, _ in self._label_files if path is None]
        return {**fingerprint(self._base(), [*found.images, *inside]), "not read": found.missed}


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


def _head(path: Path) -> bytes:
    """Return a file's first bytes; none if it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError:
        return b""


def _readable(name: str) -> str:
    """Return a file's name as text that can be written; other bytes become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _classes(base: Path, names: Sequence[str], layout: Layout) -> tuple[str, ...]:
    """Return the class folders, sorted."""
    found = set()
    for name in names:
        label = layout.label(name)
        if label is None:
            rule = f"{name} is in no class folder"
            raise DataError(base, rule=rule, way_out="move it into one, or leave classes off")
        found.add(label)
    return tuple(sorted(found))
