"""`wds:SHARDS`: WebDataset tar shards by path or address, read once from start to end.

The library of that name is not needed: a shard is a tar archive whose neighbours of one name are one sample.
"""

from __future__ import annotations

import functools
import glob
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from morphospace.data.decode import Chunk, decode_chunk
from morphospace.data.formats import ENDINGS, WAYS_OUT, ending_of, is_junk, unread
from morphospace.data.opening import Blob
from morphospace.data.rule import Rule
from morphospace.data.sources.base import (
    Contents,
    Part,
    PathSource,
    Sample,
    SourceInfo,
    fingerprint,
    readable_headers,
)
from morphospace.data.sources.layout import Layout, find_layout, listed, split_in, split_of
from morphospace.data.sources.tars import BROKEN, MOST_BYTES, members, opened
from morphospace.data.tables import LabelFile, Labelled, content_of, given_files, labels_of
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
        layout: What their folders mean.
        under: A folder to think them all in, with its slash, for `layout`.
        split: Only those of this split by `layout`; None for all.
        said: What files of labels say of each, by its name with its shard's, and only these are taken; None for all.
        share: How much of all has been read, 0 to 1.
        passed: Files passed over, by ending.
    """

    shards: Sequence[Path | str]
    classes: bool
    like: _Like | None = None
    layout: Layout = field(default_factory=Layout)
    under: str = ""
    split: str | None = None
    said: Labelled | None = None
    share: float = field(default=0.0, init=False)
    passed: Counter[str] = field(default_factory=Counter, init=False)

    def __iter__(self) -> Iterator[Sample]:
        self.passed.clear()
        for number, shard in enumerate(self.shards):
            called, held = str(shard), 0
            try:
                stream, size = opened(shard)
                try:
                    for name, files in _grouped(stream, called, self._wanted, self.passed):
                        held += 1
                        if size:
                            self.share = (number + min(1.0, _bytes_read(stream) / size)) / len(self.shards)
                        endings = [ending_of(f"{name}.{kind}") for kind in files]
                        if not any(kind in _IMAGES for kind in files) and any(e in WAYS_OUT for e in endings):
                            self.passed.update(endings)
                        elif self.said is None or _in_shard(shard, name) in self.said.values:
                            yield self._sample(f"{called}/{name}", name, files, _in_shard(shard, name))
                finally:
                    stream.close()
            except DataError:  # of the network, or a name that climbs: no matter of one sample or shard
                raise
            except BROKEN as error:
                yield Sample(b"", called, wrong=f"{one_line(error)}; {held:,} samples of this shard were read")

    def _wanted(self, path: str) -> bool:
        return self.split is None or self.layout.split(self.under + path) == self.split

    def names(self) -> Iterator[str]:
        """Yield the name of each image, with its shard's, without reading one."""
        for shard in self.shards:
            stream, _ = opened(shard)
            try:
                for full, _, _ in members(stream, str(shard)):
                    path = full.removeprefix("./")
                    parts = _PARTS.fullmatch(path)
                    if parts and parts[2].lower() in _IMAGES and not is_junk(path) and self._wanted(path):
                        yield f"{_in_shard(shard, parts[1])}.{parts[2]}"
            except BROKEN:  # the samples before the damage count; packing says what is wrong
                continue
            finally:
                stream.close()

    def _sample(self, called: str, name: str, files: Mapping[str, bytes | str], key: str) -> Sample:
        try:
            return self._read(called, name, files, key)
        except DataError as error:
            return Sample(b"", called, wrong=str(error))

    def _read(self, called: str, name: str, files: Mapping[str, bytes | str], key: str) -> Sample:
        image_kind = next((kind for kind in files if kind in _IMAGES), None)
        if image_kind is None:
            raise DataError(rule=f"has no image (only {', '.join(files)})")
        image = files[image_kind]
        for content in files.values():
            if isinstance(content, str):
                raise DataError(rule=content)
        like = self.like
        said = _object(files["json"]) if "json" in files and (like is None or like != _Like()) else {}
        label, of_use = self._label(name, files, said)
        of_use |= {image_kind} | ({"json"} if said else set())
        self.passed.update(f".{kind}" for kind in files if kind not in of_use)
        attributes = {name: value for name, value in said.items() if isinstance(value, bool)}
        if self.said is not None:
            value = self.said.values[key]
            label = None if self.said.columns else str(value)
            attributes = dict(zip(self.said.columns, map(bool, value))) if self.said.columns else attributes
        if like is not None:
            label = label if like.label else None
            if like.label and type(label) is not like.label:
                raise DataError(rule=f"its class is {label!r}, those of the others are of type {like.label.__name__}")
            missing = [name for name in like.attributes if name not in attributes]
            if missing:
                raise DataError(rule=f"its json does not say whether {missing[0]!r} holds, those of the others do")
            attributes = {name: attributes[name] for name in like.attributes}
        return Sample(bytes(image), called, label, attributes)  # type: ignore[arg-type]

    def _label(self, name: str, files: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[int | str | None, set[str]]:
        """Return the class, and the file that says it."""
        if "cls" in files:
            return _class(files["cls"]), {"cls"}
        label = next((said[key] for key in _LABELS if isinstance(said.get(key), int | str)), None)
        if label is not None and not isinstance(label, bool):
            return _class(str(label).encode()), set()
        if not self.classes:
            return None, set()
        if "txt" in files:
            return _class(files["txt"], number=False), {"txt"}
        return self.layout.label(self.under + name), set()


def _in_shard(shard: Path | str, name: str) -> str:
    """Return a sample's name as files of labels may write it: below its shard, without that one's ending."""
    return f"{_stem(str(shard).rpartition('/')[2])}/{name}"


def _stem(shard: str) -> str:
    return re.sub(r"(\.tar|\.gz|\.tgz)+$", "", shard)


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
    return int(text) if number and re.fullmatch("[0-9]{1,19}", text) and int(text) < 2**63 else text


def _object(content: Any) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise DataError(rule="its json cannot be read as an object")
    return said


def _grouped(
    stream: Any, called: str, wanted: Callable[[str], bool], passed: Counter[str]
) -> Iterator[tuple[str, dict[str, bytes | str]]]:
    """Samples as {suffix: content}, or what is wrong with that content, by name; neighbours of one name are one sample.

    Only what is of use is read; files that belong to no sample are counted in `passed`.
    """
    name, files = "", dict[str, bytes | str]()
    for full, size, content in members(stream, called):
        path = full.removeprefix("./")
        if not wanted(path):
            continue
        parts = _PARTS.fullmatch(path)
        if parts is None or is_junk(path) or path.startswith("__"):
            if not is_junk(path):
                passed[ending_of(path)] += 1
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

    Shards are splits if all their names speak of one (`layout.SPLITS`) and there is a `train`. Otherwise folders in
    them are, by the rule of `folder:PATH`. What the first sample of `train` brings, each must bring: a class from `cls`
    or from `label`, `cls` or `class` in `json` (a number or a word), and attributes from what is true or false in
    `json`. Samples that do not are left out and counted. With `classes`, a `txt` or else the first folder is the class.
    With `labels`, files say it.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="wds",
        description="wds:SHARDS, WebDataset tar shards by path or address, as wds:set-{000..012}.tar; never unpacked",
        licence="yours",
        shape=None,
        where="your own files, or any server",
    )
    takes = ("classes", "labels", "background", "range")
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

    def at_hand(self) -> bool:
        return all(isinstance(place, Path) for place in self._found())

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
        labels = [fingerprint(path.parent, [path.name]) for path, _, _ in self._label_files]
        return {**state, **({"labels": labels} if labels else {})}

    @functools.cached_property
    def _label_files(self) -> list[tuple[Path, str, str]]:
        return given_files(self.settings.labels)

    def _labelled(self, samples: Mapping[str, _Samples]) -> Labelled:
        """Return what files of labels say of each sample, by its name in its shard.

        Raises:
            DataError: As `labels_of`.
        """
        split_by_name = {name: split for split, mine in samples.items() for name in mine.names()}
        if not split_by_name:
            raise DataError(self.settings.data, rule="has no sample with an image", way_out="check the shards")
        files = [
            LabelFile(name, content_of(path), column, split=split_in(path.name))
            for path, name, column in self._label_files
        ]
        said = labels_of(files, list(split_by_name), split_by_name.__getitem__)
        values = {name[: -len(ending_of(name))]: value for name, value in said.values.items()}
        return replace(said, values=values)

    def _by_split(self) -> tuple[dict[str, _Samples], tuple[str, ...]]:
        """Return the samples of each split, which shards or else folders in them name, and notes on what does not."""
        shards, classes = self._found(), self.settings.classes
        named, notes = _named_splits(shards)
        under = {split: f"{split}/" if len(named) > 1 else "" for split in named}
        folders = {under[split] + folder for split, mine in named.items() for folder in _folders(mine)}
        if not all(isinstance(shard, Path) for shard in shards):  # what follows the first samples is not known yet
            seen = sorted({f"{f}/" for f in folders if any(split_of(word) for word in f.split("/"))})
            more = f"{listed(seen)} in shards at an address are no splits: name the shards so, train-000.tar"
            return {split: _Samples(mine, classes) for split, mine in named.items()}, (*notes, *[more] * bool(seen))
        layout = find_layout(self.settings.data, folders)
        notes += layout.notes
        if len(named) > 1 or layout.at is None:
            return {
                split: _Samples(mine, classes, layout=layout, under=under[split]) for split, mine in named.items()
            }, notes
        inside = {layout.split(f"{folder}/") for folder in folders}
        order = [split for split in ("train", "valid", "test") if split in inside]
        return {split: _Samples(shards, classes, layout=layout, split=split) for split in order}, notes

    def read(self) -> Contents:
        if self._label_files and not self.at_hand():
            rule = "names samples of shards at an address, which are read once, from start to end"
            raise SettingError("labels", self.settings.labels, rule, "download the shards, or leave it out")
        samples, notes = self._by_split()
        if self._label_files:
            said = self._labelled(samples)
            samples, notes = {split: replace(mine, said=said) for split, mine in samples.items()}, (*notes, *said.notes)
        first = list(itertools.islice(samples["train"], _FIRST))
        whole = [sample for sample in first if not sample.wrong]
        if not whole:
            lines = unread(samples["train"].passed)
            why = f" ({first[0].name}: {first[0].wrong})" if first else "".join(f" ({line})" for line in lines)
            raise DataError(self.settings.data, rule=f"has no sample with an image{why}", way_out="check the shards")
        shape, one_size = self._shape(whole)
        label = whole[0].label
        like = _Like(None if label is None else type(label), tuple(whole[0].attributes))
        chunk = partial(_decode, one_size=one_size, grey=self.settings.channels is None and shape[2] == 1)
        parts = {split: Part(samples=replace(mine, like=like), chunk=chunk) for split, mine in samples.items()}
        shards = self._found()
        self.say(f"reading {len(shards):,} shards{'' if label is None else ', with classes'}")
        called = _called(samples["train"].shards[0])
        return Contents(called, parts, shape, attribute_names=like.attributes, notes=notes)

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
    stem = _stem(str(shard).partition("?")[0].rpartition("/")[2])
    return re.sub(r"[-_.]?[0-9]+$", "", stem) or "wds"


def _named_splits(shards: Sequence[Path | str]) -> tuple[dict[str, list[Path | str]], tuple[str, ...]]:
    """Return the shards of each split by their names, and a note where some of them look like splits in vain."""
    names = [str(place).partition("?")[0].rpartition("/")[2] for place in shards]
    splits = [split_in(name) for name in names]
    if None not in splits and "train" in splits:
        order = [split for split in ("train", "valid", "test") if split in splits]
        return {split: [place for place, own in zip(shards, splits) if own == split] for split in order}, ()
    named = [name for name, own in zip(names, splits) if own not in (None, "train")]
    other = next((name for name, own in zip(names, splits) if own is None), "")
    why = f"with {other} beside" if other else "without a train shard beside"
    return {"train": list(shards)}, (f"{listed(named)}: no split {why}; all are for training",) * bool(named)


def _folders(shards: Sequence[Path | str]) -> set[str]:
    """Return the folders that images lie in; of flat shards, and at an address, the first names tell."""
    found: set[str] = set()
    count = 0
    for shard in shards:
        stream, _ = opened(shard)
        try:
            for name, _, _ in members(stream, str(shard)):
                path = name.removeprefix("./")
                if ending_of(path)[1:] in _IMAGES and not is_junk(path):
                    found.add(path.rpartition("/")[0])
                    count += 1
                    if count >= _FIRST and (found == {""} or isinstance(shard, str)):
                        return found
        except BROKEN:  # the samples before the damage count; packing says what is wrong
            continue
        finally:
            stream.close()
    return found
