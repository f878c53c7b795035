"""What a source is: it knows where its files lie, what goes with each image, and whether they changed."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from morphospace.data.decode import Chunk, Rule, decode_chunk
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source as a list of them shows it.

    Attributes:
        name: What to give as `data`.
        description: One line.
        licence: Licence or terms of use.
        shape: Native (H, W, C); None when it depends on the files.
        where: Where its files come from, and where they are looked for.
        size: How much there is to download; "none" where nothing is, empty where that depends on what is asked for.
        here: Whether its files are on this machine; None when that depends on the path given.
    """

    name: str
    description: str
    licence: str
    shape: tuple[int, int, int] | None
    where: str
    size: str = ""
    here: bool | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source that is read from its start to its end, with all that is known of it.

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
    """Samples whose number is not known before they have been read."""

    @property
    def share(self) -> float:
        """How much of all has been read, 0 to 1; 0 when that is not known."""

    def __iter__(self) -> Iterator[Sample]: ...


@dataclass(frozen=True)
class Part:
    """One split as a source hands it over: images, files *or* samples, and aligned with them what is known of each.

    Attributes:
        images: uint8 (N, H, W, C), or anything indexed by a slice that gives such rows; resized where it must
            be.
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
    """Which of the settings `classes`, `parts` and `background` mean something here."""

    def __init__(self, settings: DataSettings, root: Path | None, cache: Path, say: Say) -> None:
        self.settings, self.root, self.cache, self.say = settings, root, cache, say

    @abstractmethod
    def here(self) -> bool:
        """Whether the files are there; quick, and never raises for files that are not."""

    @abstractmethod
    def inputs(self) -> Mapping[str, Any]:
        """A fingerprint that changes when the files do, without reading them; JSON.

        Raises:
            DataError: The files are not there and cannot be fetched; says which to put where.
        """

    @abstractmethod
    def read(self) -> Contents:
        """Find the images and what goes with them.

        Raises:
            DataError: Files that are not what the source's are.
        """

    def fetch(self) -> Path | None:
        """Download the files to where they are looked for.

        Returns:
            Their folder; None when there is nothing to download.

        Raises:
            DataError: They cannot be downloaded; says how to get them by hand.
        """
        return None

    def identity(self) -> str:
        """What besides the settings makes two packs of this source two, such as the folder."""
        return str(self.root.resolve()) if self.root else ""


def size_of_files(files: Iterable[Path]) -> int:
    """Bytes of all files."""
    return sum(file.stat().st_size for file in files)


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
