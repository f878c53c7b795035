"""`wds:SHARDS`: WebDataset tar shards by path or address, read once from start to end.

The library of that name is not needed: a shard is a tar archive whose neighbours of one name are one sample.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from morphospace.data.decode import Blob, Chunk, decode_chunk
from morphospace.data.rule import Rule
from morphospace.data.sources.base import (
    SPLITS,
    Contents,
    Part,
    PathSource,
    Sample,
    SourceInfo,
    fingerprint,
    readable_headers,
)
from morphospace.data.sources.folder import ENDINGS
from morphospace.data.sources.tars import BROKEN, MOST_BYTES, members, opened
from morphospace.errors import DataError, SettingError, one_line

_IMAGES = tuple(ending[1:] for ending in ENDINGS)
_TABLES = ("cls", "json", "txt")
_MOST_TABLE_BYTES = 1 << 20
_MOST_SHARDS = 100_000
_FIRST = 256  # samples that tell what the others are like
_ADDRESS = re.compile("https?://")
_LABELS = ("label", "cls", "class")
_PARTS = re.compile(r"((?:.*/)?[^/.][^/.]*)\.([^/]+)", re.S)  # a sample's name ends at its first dot


def expand(pattern: str) -> list[str]:
    """Every name that braces stand for, in order.

    >>> expand("a-{08..10}.tar"), expand("{train,test}.tar")
    (['a-08.tar', 'a-09.tar', 'a-10.tar'], ['train.tar', 'test.tar'])
    """
    brace = re.search(r"\{([^{}]*)\}", pattern)
    if brace is None:
        return [pattern]
    ends = re.fullmatch(r"([0-9]{1,9})\.\.([0-9]{1,9})", brace[1])
    if ends:
        first, last = int(ends[1]), int(ends[2])
        if not first <= last < first + _MOST_SHARDS:
            raise SettingError("data", pattern, f"{{{brace[1]}}} must count upwards, over at most {_MOST_SHARDS:,}")
        words = [str(n).zfill(len(ends[1])) for n in range(first, last + 1)]
    else:
        words = brace[1].split(",")
    rest = expand(pattern[brace.end() :])
    if len(words) * len(rest) > _MOST_SHARDS:
        raise SettingError("data", pattern, f"stands for more than {_MOST_SHARDS:,} shards", "give fewer")
    return [pattern[: brace.start()] + word + more for word in words for more in rest]


@dataclass(frozen=True)
class _Like:
    """What every sample must bring because the first does."""

    label: type | None = None
    attributes: tuple[str, ...] = ()


@dataclass
class _Samples:
    """Samples of several shards in order; each iteration reads them again.

    Attributes:
        shards: Paths or addresses.
        classes: Whether a `txt`, or else the folder, is a sample's class where nothing else says so.
        like: What each must bring; None takes them as they are.
        share: How much of all has been read, 0 to 1.
    """

    shards: Sequence[Path | str]
    classes: bool
    like: _Like | None = None
    share: float = field(default=0.0, init=False)

    def __iter__(self) -> Iterator[Sample]:
        for number, shard in enumerate(self.shards):
            called, held = str(shard), 0
            try:
                stream, size = opened(shard)
                try:
                    for name, files in _grouped(stream, called):
                        held += 1
                        if size:
                            self.share = (number + min(1.0, _bytes_read(stream) / size)) / len(self.shards)
                        yield self._sample(f"{called}/{name}", files)
                finally:
                    stream.close()
            except DataError:  # of the network, or a name that climbs: no matter of one sample or shard
                raise
            except BROKEN as error:
                yield Sample(b"", called, wrong=f"{one_line(error)}; {held:,} samples of this shard were read")

    def _sample(self, name: str, files: Mapping[str, bytes | str]) -> Sample:
        try:
            return self._read(name, files)
        except DataError as error:
            return Sample(b"", name, wrong=str(error))

    def _read(self, name: str, files: Mapping[str, bytes | str]) -> Sample:
        image = next((files[kind] for kind in files if kind in _IMAGES), None)
        if image is None:
            raise DataError(rule=f"has no image (only {', '.join(files)})")
        for content in files.values():
            if isinstance(content, str):
                raise DataError(rule=content)
        like = self.like
        said = _object(files["json"]) if "json" in files and (like is None or like != _Like()) else {}
        label = self._label(name, files, said)
        attributes = {key: value for key, value in said.items() if isinstance(value, bool)}
        if like is not None:
            label = label if like.label else None
            if like.label and type(label) is not like.label:
                raise DataError(rule=f"its class is {label!r}, those of the others are of type {like.label.__name__}")
            missing = [key for key in like.attributes if key not in attributes]
            if missing:
                raise DataError(rule=f"its json does not say whether {missing[0]!r} holds, those of the others do")
            attributes = {key: attributes[key] for key in like.attributes}
        return Sample(bytes(image), name, label, attributes)  # type: ignore[arg-type]

    def _label(self, name: str, files: Mapping[str, Any], said: Mapping[str, Any]) -> int | str | None:
        if "cls" in files:
            return _class(files["cls"])
        label = next((said[key] for key in _LABELS if isinstance(said.get(key), int | str)), None)
        if label is not None and not isinstance(label, bool):
            return _class(str(label).encode())
        if not self.classes:
            return None
        if "txt" in files:
            return _class(files["txt"], number=False)
        folder = name.rpartition(".tar")[2].split("/")[1:-1]
        return folder[0] if folder else None


def _bytes_read(stream: Any) -> int:
    return stream.at if hasattr(stream, "at") else stream.tell()


def _class(content: bytes, number: bool = True) -> int | str:
    """A class number, or a word."""
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > 200 or not text.isprintable():
        raise DataError(rule="its class is neither a number nor a word")
    return int(text) if number and re.fullmatch("[0-9]{1,9}", text) else text


def _object(content: Any) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise DataError(rule="its json cannot be read as an object")
    return said


def _grouped(stream: Any, called: str) -> Iterator[tuple[str, dict[str, bytes | str]]]:
    """Samples as {suffix: content}, or what is wrong with that content, by name; neighbours of one name are one sample.

    Only what is of use is read.
    """
    name, files = "", dict[str, bytes | str]()
    for full, size, content in members(stream, called):
        path = full.removeprefix("./")
        parts = _PARTS.fullmatch(path)
        if parts is None or "/." in f"/{path}" or path.startswith("__"):
            continue
        if parts[1] != name:
            if files:
                yield name, files
            name, files = parts[1], {}
        kind = parts[2].lower()
        if kind in files:
            files[kind] = f"has two files .{kind}"
        elif kind in (*_IMAGES, *_TABLES):
            most = _MOST_TABLE_BYTES if kind in _TABLES else MOST_BYTES
            files[kind] = content.read() if size <= most else f"its {kind} has more than {most >> 20} MB"
        else:
            files.setdefault(kind, b"")
    if files:
        yield name, files


def _decode(blobs: Sequence[Blob], rule: Rule, *, one_size: tuple[int, int] | None, grey: bool) -> Chunk:
    """Decode; where the user gave no size, all must be of the first one's, and without `channels` all as grey."""
    named = (("", blob) for blob in blobs) if one_size is not None or grey else ()
    for _, header in readable_headers(named, rule.max_pixels):
        size = header.height, header.width
        if grey and not header.grey:
            wrong = "the first images are grey and others are not"
            raise DataError("wds", rule=wrong, way_out="give --channels 3, or 1 to make all grey")
        if one_size is not None and size != one_size:
            wrong = f"images differ in size ({one_size[0]}x{one_size[1]} and {size[0]}x{size[1]})"
            raise DataError("wds", rule=wrong, way_out="give one for all, such as --size 64")
    return decode_chunk(blobs, rule)


class Wds(PathSource):
    """`wds:SHARDS`: tar shards with names such as `set-{000..012}.tar`, `folder/*.tar`, a folder, or an address.

    Shards whose names begin with `train`, `val` (or `valid`, `validation`) and `test` are splits when all are one of
    these and there is a `train`. What the first sample of `train` brings, each must bring: a class from `cls` or from
    `label`, `cls` or `class` in `json` (a number or a word), and attributes from what is true or false in `json`.
    Samples that do not are left out and counted. With `classes`, a `txt` or else the first folder is the class.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="wds",
        description="wds:SHARDS, WebDataset tar shards by path or address, as wds:set-{000..012}.tar; never unpacked",
        licence="yours",
        shape=None,
        where="your own files, or any server",
    )
    takes = ("classes", "background", "range")
    form = ("shards", "PATH-{000..012}.tar")

    def _found(self) -> list[Path | str]:
        found: list[Path | str] = []
        for name in expand(self._text()):
            path = Path(name).expanduser()
            if _ADDRESS.match(name):
                found.append(name)
            elif path.is_dir():
                found += sorted(p for p in path.iterdir() if p.name.endswith((".tar", ".tar.gz", ".tgz")))
            elif path.is_file() or not glob.has_magic(name):
                found.append(path)
            else:
                found += [Path(n) for n in sorted(glob.glob(str(path)))]
        lost = [str(place) for place in found if isinstance(place, Path) and not place.is_file()]
        if lost or not found:
            what = f"there is no file {lost[0]}" if lost else "no shard is there"
            raise DataError("data", self.settings.data, what, "check the path, its braces and its stars")
        return found

    def anchored(self) -> str:
        return self.settings.data if _ADDRESS.match(self._text()) else super().anchored()

    def identity(self) -> str:
        return json.dumps([place if isinstance(place, str) else str(place.resolve()) for place in self._found()])

    def inputs(self) -> Mapping[str, Any]:
        """A fingerprint of the files; an address is assumed to always hold the same bytes."""
        shards = self._found()
        paths = [place.resolve() for place in shards if isinstance(place, Path)]
        state: dict[str, Any] = {"addresses": len(shards) - len(paths)}
        if paths:
            base = Path(os.path.commonpath([path.parent for path in paths]))
            state |= fingerprint(base, [path.relative_to(base).as_posix() for path in paths])
        return state

    def read(self) -> Contents:
        splits = _by_split(self._found())
        classes = self.settings.classes
        first = list(itertools.islice(_Samples(splits["train"], classes), _FIRST))
        whole = [sample for sample in first if not sample.wrong]
        if not whole:
            why = f" ({first[0].name}: {first[0].wrong})" if first else ""
            raise DataError(self.settings.data, rule=f"has no sample with an image{why}", way_out="check the shards")
        shape, one_size = self._shape(whole)
        label = whole[0].label
        like = _Like(None if label is None else type(label), tuple(whole[0].attributes))
        chunk = partial(_decode, one_size=one_size, grey=self.settings.channels is None and shape[2] == 1)
        parts = {split: Part(samples=_Samples(mine, classes, like), chunk=chunk) for split, mine in splits.items()}
        shards = sum(map(len, splits.values()))
        return Contents(
            _called(splits["train"][0]),
            parts,
            shape,
            attribute_names=like.attributes,
            notes=(f"reading {shards:,} shards{'' if label is None else ', with classes'}",),
        )

    def _shape(self, first: Sequence[Sample]) -> tuple[tuple[int, int, int], tuple[int, int] | None]:
        """The images' own shape, from the first headers, and the size that all must have if the user gave none."""
        named, bad = ((sample.name, sample.image) for sample in first), list[str]()
        headers = [header for _, header in readable_headers(named, self.settings.max_pixels, bad)]
        if not headers:
            rule = f"none of its first {len(first):,} images can be read (the first, {bad[0]})"
            raise DataError(self.settings.data, rule=rule, way_out="check them")
        shape = (headers[0].height, headers[0].width, 1 if all(h.grey for h in headers) else 3)
        return shape, shape[:2] if self.settings.size is None else None


def _called(shard: Path | str) -> str:
    """A name for the set: the first shard's, less its number."""
    stem = re.sub(r"(\.tar|\.gz|\.tgz)+$", "", str(shard).partition("?")[0].rpartition("/")[2])
    return re.sub(r"[-_.]?[0-9]+$", "", stem) or "wds"


def _by_split(shards: Sequence[Path | str]) -> dict[str, list[Path | str]]:
    words = [re.split(r"[-_.]", str(place).rpartition("/")[2])[0].lower() for place in shards]
    if not set(words) <= set(SPLITS) or "train" not in words:
        return {"train": list(shards)}
    named = [SPLITS[word] for word in words]
    return {
        split: [place for place, mine in zip(shards, named) if mine == split]
        for split in ("train", "valid", "test")
        if split in named
    }
