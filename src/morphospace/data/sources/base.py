"""The base of all sources: where the files are, what is known of each image, and whether files changed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from morphospace.data.decode import Chunk, decode_chunk
from morphospace.data.opening import Blob, Header, read_header
from morphospace.data.rule import Rule
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError, SettingError
from morphospace.files import absolute

Say = Callable[[str], None]
IMAGE_COLUMNS = ("image", "img", "images", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "cls", "fine_label", "class")
"""Names that a table's columns of images and of class numbers have, the likeliest first."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source as `data list` shows it.

    Attributes:
        name: What to give as `data`.
        description: One line.
        licence: Licence or terms of use.
        shape: Native (H, W, C); None when it depends on the files.
        where: Where its files come from, and where they are looked for.
        size: How much there is to download; "none" where nothing is, empty where that depends on what is asked for.
        here: Whether its files are on this machine; None when that depends on the path given.
        embedded: The source of the same kind of images that comes with the library; empty where there is none.
        may_be_shown: Whether its terms let a page that is passed on show small pictures of it.
    """

    name: str
    description: str
    licence: str
    shape: tuple[int, int, int] | None
    where: str
    size: str = ""
    here: bool | None = None
    embedded: str = ""
    may_be_shown: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source that is read in one pass, with its annotations.

    Attributes:
        image: Encoded.
        name: What to call it in a message.
        label: Class number or name; of one type in all samples of a source.
        attributes: By name; the same names in all samples of a source.
        wrong: Why it cannot be used; empty when it can.
    """

    image: bytes
    name: str
    label: int | str | None = None
    attributes: Mapping[str, bool] = field(default_factory=dict)
    wrong: str = ""


class Samples(Protocol):
    """Samples whose number is known only after they were read."""

    @property
    def share(self) -> float:
        """How much of all has been read, 0 to 1; 0 when that is not known."""

    @property
    def passed(self) -> Counter[str]:
        """How many files beside those of use were passed over so far, by ending."""

    def __iter__(self) -> Iterator[Sample]: ...


@dataclass(frozen=True)
class Part:
    """One split of a source: images, files *or* samples, and aligned with them their annotations.

    Attributes:
        images: (N, H, W, C), or anything indexed by a slice that gives such rows; resized where it must be. uint8, or
            of another type for `to_uint8_rows`; with `row_bytes`, the memory of one of them, if they may be large.
        files: Paths, bytes, or picklable callables giving bytes, to be decoded. Those that fail are left out
            together with their row of everything below.
        samples: Encoded images with their tables, in one pass, of which only a few are held at once.
        labels: Class numbers, (N,).
        attributes: 0 or 1, (N, A).
        factors: (N, F).
        masks: With `images`: 0 or 1, (N, H, W, M), or anything indexed by a slice; they take the same crop. With
            `files`, masks come from `chunk`.
        chunk: With `files` or `samples`: what decodes some, in place of `decode_chunk`; picklable. The files may then
            be anything that is picklable and that it understands.
        names: What to call each file in a message; the path itself when None.
    """

    images: Any = None
    files: Any = None
    samples: Samples | None = None
    labels: np.ndarray | None = None
    attributes: np.ndarray | None = None
    factors: np.ndarray | None = None
    masks: Any = None
    names: Sequence[str] | None = None
    chunk: Callable[[Sequence[Any], Rule], Chunk] = decode_chunk

    def __len__(self) -> int:
        if self.samples is not None:
            return 0  # nobody knows yet
        return len(self.files if self.files is not None else self.images)


@dataclass(frozen=True)
class Contents:
    """Everything a source has.

    Attributes:
        name: What to call the data.
        parts: Part by split name.
        shape: The (H, W, C) to take where the user gives none.
        notes: Lines the user should see, such as how many of the listed images are there.
    """

    name: str
    parts: Mapping[str, Part]
    shape: tuple[int, int, int]
    label_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    factor_names: tuple[str, ...] = ()
    mask_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


class Source(ABC):
    """One place that images come from. A new one is a file beside this one and a line in
    `sources/__init__.py`.

    Args:
        settings: The user's settings.
        root: Folder that holds the source's files, resolved by `prepare`; None when the user named none.
        cache: Folder for this source's downloads.
        say: Takes one line for the user.
    """

    info: ClassVar[SourceInfo]
    needs_path: ClassVar[bool] = False
    """Whether `data` must say more than the name, as in `folder:PATH`."""
    variants: ClassVar[bool] = False
    """Whether `data` may say more than the name, as in `toyfaces:200`."""
    takes: ClassVar[tuple[str, ...]] = ()
    """Which of the settings `classes`, `labels`, `parts`, `background` and `range` mean something here."""

    def __init__(self, settings: DataSettings, root: Path | None, cache: Path, say: Say) -> None:
        self.settings, self.root, self.cache, self.say = settings, root, cache, say

    @abstractmethod
    def here(self) -> bool:
        """Whether the files are there; quick, and never raises for files that are not."""

    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """A fingerprint that changes when the files do, without reading them; JSON.

        Raises:
            DataError: If the files are not there and cannot be fetched; says which to put where.
        """

    @abstractmethod
    def read(self) -> Contents:
        """Find the images and what goes with them.

        Raises:
            DataError: If a file is not what it should be.
        """

    def at_hand(self) -> bool:
        """Whether `inputs` and `read` need no network: they find what they need, or say what is wrong."""
        return self.here()

    def fetch(self) -> Path | None:
        """Download the files to where they are looked for.

        Returns:
            Their folder; None when there is nothing to download.

        Raises:
            DataError: If they cannot be downloaded; says how to get them by hand.
        """
        return None

    def identity(self) -> str:
        """What besides the settings distinguishes two packs of this source, such as the folder."""
        return str(self.root.resolve()) if self.root else ""

    def anchored(self) -> str:
        """What to give as `data` from any other working directory."""
        return self.settings.data


class PathSource(Source):
    """A source that `data` names by a path, as in `folder:PATH`."""

    needs_path = True
    form: ClassVar[tuple[str, str]] = ("file", "PATH")
    """What the path names, and how to write it, for the message about a missing one."""
    hint: ClassVar[str] = "check the path"
    """What to do where there is no such file."""

    def _text(self) -> str:
        """The part of `data` after the colon.

        Raises:
            SettingError: If there is nothing.
        """
        kind, _, text = self.settings.data.partition(":")
        if not text:
            raise SettingError("data", self.settings.data, f"names no {self.form[0]}", f"write {kind}:{self.form[1]}")
        return text

    def _base(self) -> Path:
        """The file or folder.

        Raises:
            DataError: If there is none.
        """
        path = Path(self._text()).expanduser()
        if not path.is_file():
            raise DataError("data", self.settings.data, f"there is no file {path}", self.hint)
        return path

    def _found(self) -> Any:
        """What there is to read; raises a DataError or SettingError if there is nothing."""
        return self._base()

    def anchored(self) -> str:
        return f"{self.settings.data.partition(':')[0]}:{absolute(self._text())}"

    def here(self) -> bool:
        try:
            return bool(self._found())
        except (DataError, SettingError):
            return False

    def at_hand(self) -> bool:
        return True

    def identity(self) -> str:
        return str(self._base().resolve())

    def inputs(self) -> Mapping[str, Any]:
        base = self._base()
        return fingerprint(base.parent, [base.name])


class HandFetched(Source):
    """A source whose files are looked for below the root, and that users must download themselves."""

    refusal: ClassVar[str] = "cannot be downloaded for you, its terms must be accepted"

    @abstractmethod
    def _find(self) -> tuple[Path, Path] | None:
        """The folder of everything, and the folder or file in it that was looked for; None if it is not there."""

    @abstractmethod
    def _lost(self) -> str:
        """What is not where it is looked for, as the rule of an error."""

    @abstractmethod
    def _manual(self) -> str:
        """How to get the files by hand."""

    def _located(self) -> tuple[Path, Path]:
        found = self._find()
        if found is None:
            raise DataError(self.settings.data, rule=self._lost(), way_out=self._manual())
        return found

    def here(self) -> bool:
        return self._find() is not None

    def fetch(self) -> Path | None:
        found = self._find()
        if found is None:
            raise DataError(self.settings.data, rule=self.refusal, way_out=self._manual())
        return found[0]


class OneOfFiles(HandFetched):
    """One file of several: `NAME:VARIANT` for one of them, or just `NAME` for the first that is there."""

    variants = True
    files: ClassVar[Mapping[str, str]]
    """Variant -> the name of its file."""

    def _asked(self) -> str:
        """The variant that is asked for; empty for any."""
        return self.settings.data.partition(":")[2]

    def _folders(self) -> list[Path]:
        return [*([self.root / self.info.name, self.root] if self.root else []), self.cache]

    def _find(self) -> tuple[Path, Path] | None:
        asked, name = self._asked(), self.info.name
        if asked and asked not in self.files:
            raise SettingError("data", self.settings.data, f"must be {name}, or {name}:{' or :'.join(self.files)}")
        names = [self.files[asked]] if asked else list(self.files.values())
        places = ((folder, folder / name) for name in names for folder in self._folders())
        return next(((folder, place) for folder, place in places if place.is_file()), None)

    def _lost(self) -> str:
        return "its file is not here"

    def _variant(self, file: Path) -> str:
        """The variant that a file is."""
        return next(variant for variant, name in self.files.items() if name == file.name)

    def identity(self) -> str:
        return str(self._located()[1].resolve())

    def inputs(self) -> Mapping[str, Any]:
        folder, file = self._located()
        return fingerprint(folder, [file.name])


def damaged(place: object, rule: str) -> DataError:
    """Return the error for a downloaded file that is not what was published."""
    return DataError(place, rule=rule, way_out="fetch it again")


def readable_headers(
    blobs: Iterable[tuple[str, Blob]], max_pixels: int, bad: list[str] | None = None
) -> Iterator[tuple[str, Header]]:
    """The headers of named images; skips those that cannot be read, which decoding will count or stop at.

    Args:
        blobs: Name and content of each.
        max_pixels: Images of more pixels cannot be read.
        bad: Takes name and reason of the first that cannot be read.
    """
    for name, blob in blobs:
        try:
            yield name, read_header(blob, max_pixels)
        except DataError as error:
            if bad is not None and not bad:
                bad.append(f"{name}: {error}")


def own_shape(
    place: object,
    blobs: Iterable[tuple[str, Blob]],
    settings: DataSettings,
    *,
    images: str,
    way_out: str = "check the files",
) -> tuple[int, int, int]:
    """The images' own (H, W, C), from their headers; what the user gave is not looked for.

    Args:
        place: Where they come from, for messages.
        blobs: Name and content of each.
        settings: The user's settings.
        images: What they are, for the message if none can be read.
        way_out: What to do then.

    Raises:
        DataError: If none can be read, or if they differ in size and the user gave none.
    """
    if settings.size is not None and settings.channels is not None:
        return (0, 0, settings.channels)
    grey, sizes, bad = True, dict[tuple[int, int], str](), list[str]()  # with the first file of each
    for name, header in readable_headers(blobs, settings.max_pixels, bad):
        grey = grey and header.grey
        sizes.setdefault((header.height, header.width), name)
    if not sizes:
        why = f" (the first, {bad[0]})" if bad else ""
        raise DataError(place, rule=f"none of its {images} can be read{why}", way_out=way_out)
    if settings.size is None and len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        differ = f"({first} is {one[0]}x{one[1]}, {second} is {other[0]}x{other[1]})"
        raise DataError(place, rule=f"images differ in size {differ}", way_out="give one for all, such as --size 64")
    return (*next(iter(sizes)), 1 if grey else 3)


def fingerprint(base: Path, files: Sequence[str]) -> dict[str, Any]:
    """Name, size and time of change of every file, as one hash with counts.

    Args:
        base: The folder names are relative to; it is not part of the hash, so files may move together.
        files: Their relative names, in order.
    """
    state, size = hashlib.blake2b(digest_size=16), 0
    for name in files:
        try:
            about = os.stat(base / name)  # noqa: PTH116 - a Path a file is three times as slow, and there may be 200,000
        except OSError as error:
            raise DataError(base / name, rule=f"cannot be read ({error.strerror})", way_out="check the file") from None
        size += about.st_size
        state.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return {"files": len(files), "bytes": size, "hash": state.hexdigest()}
