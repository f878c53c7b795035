"""Settings to a pack: find the source, reuse a pack that is still valid, pack otherwise."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from morphospace.data.cache import cache_folder, locked, make_folder
from morphospace.data.checks import check_made, check_settings, check_taken
from morphospace.data.kept import find_packs, packs_folder, users
from morphospace.data.labels import gap_note, without_gaps
from morphospace.data.pack import FORMAT, Pack, Split, open_pack
from morphospace.data.packing import Packer, Progress, measure
from morphospace.data.rule import Rule
from morphospace.data.settings import DataSettings
from morphospace.data.sizes import parse_background, parse_range, parse_size, written_colour, written_range
from morphospace.data.sources import SOURCES, Source, SourceInfo, open_source
from morphospace.data.sources.base import Contents
from morphospace.data.values import Met
from morphospace.data.writer import PackWriter
from morphospace.errors import DataError, SettingError, nearest
from morphospace.files import absolute
from morphospace.plugins import BRING_IT

Say = Callable[[str], None]
CHANGED = "has changed since"
_SHOWN = 20


def _root(root: str | Path | None) -> Path | None:
    text = root or os.environ.get("MORPHOSPACE_DATA")
    return Path(text).expanduser() if text else None


def _source(settings: DataSettings, say: Say) -> Source:
    name = settings.data.partition(":")[0]
    return open_source(settings, _root(settings.root), cache_folder() / "downloads" / name, say)


def prepare(
    settings: DataSettings,
    *,
    out: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    note: Say | None = None,
    network: bool = True,
) -> Pack:
    """Return the pack that `settings` describe: opened if it exists and its inputs are unchanged, else packed.

    Args:
        settings: Which images, in which shape.
        out: Where to keep the pack; in the cache (`$MORPHOSPACE_CACHE` or `~/.cache/morphospace`) when None.
        workers: Decoding processes; as many as cores when None. The pack's bytes do not depend on it.
        progress: Called with (images done, images in all).
        say: Takes one line at a time for the user.
        note: Takes what is known of the data, such as files that are not read; `say` if None.
        network: Whether a server may be asked: not for settings that a run brings, which may be anyone's.

    Raises:
        SettingError: If a setting breaks a rule.
        DataError: If files are missing or damaged, the folder cannot be written, or a server would have to be asked.
    """
    say = say or (lambda line: None)
    size = check_settings(settings)
    if settings.data.partition(":")[0] not in SOURCES:
        existing = _existing(settings, size, out)
        _say_notes(existing, note or say)
        return existing
    check_taken(settings)
    source = _source(settings, say)
    remote = not network and not source.at_hand()
    if remote and not source.needs_path:
        raise _remote(settings)
    key = _key(settings, source, size)
    target = Path(out) if out is not None else packs_folder() / _folder_name(settings, source, size, key)
    make_folder(target.parent)
    with locked(target, lambda: say(f"waiting for another process that packs {target}")):
        inputs = source.inputs()
        found = _reusable(target, key, inputs, settings.strict, own=out is None, say=say)
        if found is not None:
            say(f"reusing {target}")
            _say_notes(found, note or say)
            return found
        if remote:
            raise _remote(settings)
        return _pack(source, settings, size, target, _used(target), key, inputs, workers, progress, say, note or say)


def _say_notes(pack: Pack, say: Say) -> None:
    """Say at every use what was found out when the pack was made, such as files that are not read."""
    for note in pack.manifest.get("notes", ()):
        say(str(note))


def _used(target: Path) -> str:
    """Return the hash of the pack in `target` if a run uses it, else nothing."""
    try:
        hash = open_pack(target).hash
    except DataError:
        return ""
    return hash if users(hash) else ""


def anchored(settings: DataSettings) -> DataSettings:
    """Return settings that mean the same images from any working directory: their paths are absolute.

    Raises:
        SettingError: If `data` names no file where it must.
    """
    data, root = settings.data, settings.root
    if data.partition(":")[0] in SOURCES:
        data = _source(settings, lambda line: None).anchored()
    elif Path(data).expanduser().exists():
        data = str(absolute(data))
    labels = anchored_labels(settings.labels)
    return replace(settings, data=data, labels=labels, root=None if root is None else str(absolute(root)))


def anchored_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the files of labels that are found from the working directory with their whole path."""
    found = (text if Path(text).expanduser().is_file() else text.partition("#")[0] for text in labels)
    return tuple(
        str(absolute(path)) + text[len(path) :] if Path(path).expanduser().is_file() else text
        for path, text in zip(found, labels, strict=True)
    )


def changed_since(settings: DataSettings, pack: Pack) -> str:
    """Return in words that the files of a source are not those that its pack was made of; empty if they are.

    Args:
        settings: The settings of the source.
        pack: The pack.
    """
    if settings.data.partition(":")[0] not in SOURCES or "inputs" not in pack.manifest:
        return ""
    try:
        source = _source(settings, lambda line: None)
        if not source.at_hand() and not source.needs_path:  # to look for its files would download them
            return "cannot be found any more"
        inputs = source.inputs()
        same = any(one.manifest.get("inputs") == inputs for one in (pack, *find_packs(pack.hash)))
    except (DataError, SettingError):
        return "cannot be found any more"
    return "" if same else CHANGED


def outlined(settings: DataSettings) -> Pack | None:
    """Return what `prepare` would, as far as it can be known without packing anything: refuses what it would refuse.

    Returns:
        The pack, where there is one already; else one of the same shape, splits and tables, whose images and masks are
        all black. None where the files would be downloaded first, or where only reading them all tells their number.

    Raises:
        SettingError: As `prepare`.
        DataError: As `prepare`, but for files that turn out to be damaged.
    """
    size = check_settings(settings)
    if settings.data.partition(":")[0] not in SOURCES:
        return _existing(settings, size, None)
    check_taken(settings)
    source = _source(settings, lambda line: None)
    if not source.at_hand():
        return None
    key, inputs = _key(settings, source, size), source.inputs()
    target = packs_folder() / _folder_name(settings, source, size, key)
    found = _reusable(target, key, inputs, settings.strict, own=True, say=lambda line: None)
    return found or _outline(_read(source), settings, size)


def _read(source: Source) -> Contents:
    """Return what a source has, its classes without gaps in their numbers."""
    contents = source.read()
    labels = {split: part.labels for split, part in contents.parts.items() if part.labels is not None}
    numbers, names = without_gaps(labels) if not contents.label_names else ({}, ())
    if not names:
        return contents
    parts = {split: replace(part, labels=numbers.get(split)) for split, part in contents.parts.items()}
    return replace(contents, parts=parts, label_names=names, notes=(*contents.notes, gap_note(names)))


def _outline(contents: Contents, settings: DataSettings, size: tuple[int, int] | None) -> Pack | None:
    height, width = parse_size(size or contents.shape[:2]) or (0, 0)
    shape = (height, width, settings.channels or contents.shape[2])
    splits = {}
    for name, part in contents.parts.items():
        if part.samples is not None:
            return None
        count, masks = len(part), len(contents.mask_names)
        splits[name] = Split(
            _black(count, *shape),
            part.labels,
            part.attributes,
            part.factors,
            _black(count, height, width, masks) if masks else None,
        )
    names = {kind: getattr(contents, kind) for kind in ("label_names", "attribute_names", "factor_names", "mask_names")}
    return Pack(contents.name, shape, splits, **names)


def _black(*shape: int) -> np.ndarray:
    """Return zeros that take no memory."""
    return np.broadcast_to(np.zeros((), np.uint8), shape)


def _remote(settings: DataSettings) -> DataError:
    """Return the error for images that only a server has, for settings that no one typed."""
    rule = "is not here, and a run may not name a server to ask"
    name = settings.data
    way_out = f"name it yourself, with --data {shlex.quote(name)}"
    return DataError("data", name, rule, way_out)


def _existing(settings: DataSettings, size: tuple[int, int] | None, out: Path | None) -> Pack:
    """Open the pack whose folder the settings name."""
    path = Path(settings.data).expanduser()
    if not path.exists():
        known = nearest(settings.data.partition(":")[0], SOURCES)
        raise DataError("data", settings.data, f"neither a source nor the folder of a pack{known}", BRING_IT)
    if not (path / "manifest.json").exists():
        raise DataError("data", settings.data, "is not a pack", f"for a folder of images write folder:{settings.data}")
    if out is not None:
        raise SettingError("out", str(out), f"data={settings.data!r} is a pack already", "leave out= off")
    pack = open_pack(path)
    height, width, channels = pack.shape
    if size not in (None, (height, width)):
        rule = f"the pack {path} is {height}x{width}"
        raise SettingError("size", settings.size, rule, "leave size out or pack again")
    if settings.channels not in (None, channels):
        rule = f"the pack {path} has {channels}"
        raise SettingError("channels", settings.channels, rule, "leave it out or pack again")
    check_made(settings, pack)
    return pack


def _key(settings: DataSettings, source: Source, size: tuple[int, int] | None) -> str:
    """Return what distinguishes one pack from another, whatever state the files are in."""
    identity = source.identity()
    name = settings.data.partition(":")[0]
    what = [FORMAT, name, identity, size, settings.channels, settings.crop, settings.classes]
    if settings.parts or settings.background is not None:  # so that packs made without them keep their key
        what += [list(settings.parts), parse_background(settings.background)]
    if settings.labels:
        what += [["labels", list(anchored_labels(settings.labels))]]
    usual = {name: getattr(DataSettings, name) for name in ("resize", "range", "max_pixels")}
    what += [[name, getattr(settings, name)] for name in usual if getattr(settings, name) != usual[name]]
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=6).hexdigest()


def _folder_name(settings: DataSettings, source: Source, size: tuple[int, int] | None, key: str) -> str:
    native = source.info.shape or (None, None, None)
    height, width = size or native[:2]
    parts = [height, width, settings.channels or native[2]]
    shape = "x".join("own" if part is None else str(part) for part in parts)
    return f"{source.info.name}-{shape}-{settings.crop}-{key}"


def _reusable(target: Path, key: str, inputs: Mapping[str, Any], strict: bool, *, own: bool, say: Say) -> Pack | None:
    """The pack in `target` if it is the one asked for; None if it must be packed.

    Raises:
        DataError: If the user's own folder holds something else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        pack = open_pack(target)
    except DataError as error:
        if not own:
            rule = "holds something that is no whole pack"
            raise DataError("out", str(target), rule, "give an empty folder") from None
        say(f"packing again: {error}")
        return None
    if pack.manifest.get("key") != key:
        if not own:
            raise DataError("out", str(target), f"holds another pack ({pack.name})", "give another folder or remove it")
        return None
    if pack.manifest.get("inputs") != inputs:
        if not own and (using := users(pack.hash)):
            rule = f"the files of {pack.name} changed, and the run {using[0]} uses the pack as it is"
            raise DataError("out", str(target), rule, "give another folder")
        say(f"packing again: the files of {pack.name} changed")
        return None
    if own and not pack.label_names and without_gaps(_labels(pack))[1]:
        say("packing again: its labels leave numbers out, and each class that occurs gets a name now")
        return None
    if strict and pack.manifest["skipped"]["count"]:
        return None  # packing again stops at the unreadable file and names it
    return pack


def _labels(pack: Pack) -> dict[str, np.ndarray]:
    return {name: split.labels for name, split in pack.splits.items() if split.labels is not None}


def _pack(
    source: Source,
    settings: DataSettings,
    size: tuple[int, int] | None,
    target: Path,
    used: str,
    key: str,
    inputs: Mapping[str, Any],
    workers: int | None,
    progress: Progress | None,
    say: Say,
    note: Say,
) -> Pack:
    began = time.perf_counter()
    contents = _read(source)
    for line in contents.notes:
        note(line)
    height, width = parse_size(size or contents.shape[:2]) or (0, 0)
    rule = _rule((height, width, settings.channels or contents.shape[2]), settings, contents, workers, say)
    packer = Packer(contents, rule, workers, progress, settings.strict)
    try:
        with PackWriter(target, used=used) as writer:
            for split in contents.parts:
                packer.add(writer, split)
            packer.finish(writer)
            late = [*packer.notes(), *_page_notes(packer.met), *_value_notes(packer.met, rule)]
            about = {
                "source": source.info.name,
                "key": key,
                "rule": {
                    **rule.ways(),
                    "size": [height, width],
                    "channels": rule.channels,
                    "resample": "nearest" if rule.resize == "nearest" else f"{rule.resize}, antialiased, 8 bit",
                    "transparency": "on " + ("black" if not any(rule.background) else written_colour(rule.background)),
                    "max_pixels": rule.max_pixels,
                },
                "values": packer.met.said(),
                "inputs": inputs,
                "skipped": {"count": len(packer.skipped), "first": packer.skipped[:_SHOWN]},
                "notes": [*contents.notes, *late],
            }
            writer.finish(name=contents.name, shape=rule.shape, names=packer.names(), about=about)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        wrong = f"could not be written ({reason})"
        raise DataError(target, rule=wrong, way_out="make room, or pass out= elsewhere") from None
    for line in late:
        note(line)
    if packer.skipped:
        first = packer.skipped[0]
        say(f"skipped {len(packer.skipped):,} unreadable files, the first {first['file']}: {first['reason']}")
    pack, seconds = open_pack(target), time.perf_counter() - began
    count = sum(len(split) for split in pack.splits.values())
    say(f"packed {count:,} images in {seconds:.1f} s ({count / seconds:,.0f}/s) to {target}")
    return pack


def _rule(
    shape: tuple[int, int, int], settings: DataSettings, contents: Contents, workers: int | None, say: Say
) -> Rule:
    """Return how the images are read; a range of `auto` takes a look at all of them first.

    Raises:
        SettingError: If all values are one and the same, so that they have no range.
    """
    background, span = parse_background(settings.background), parse_range(settings.range)
    rule = Rule(*shape, settings.crop, settings.max_pixels, background or Rule.background, settings.resize)
    if span == "auto":
        met = measure(contents, rule, workers)
        if met.low > met.high:
            return rule  # none can be read, which packing will say
        if met.low == met.high:
            raise SettingError("range", "auto", f"all values are {met.low:g}", "check the images, or give LOW:HIGH")
        span = met.low, met.high
        say(f"range of all values: {written_range(span)}")
    return replace(rule, range=span)


def _page_notes(met: Met) -> list[str]:
    """Return how many pages and frames were passed over."""
    lost = (
        f"{met.paged:,} images have several pages or frames; the first of each is taken, not the {met.pages:,} others"
    )
    return [f"{lost}: save them as files of their own to use them"] * bool(met.paged)


def _value_notes(met: Met, rule: Rule) -> list[str]:
    """Return what was assumed of values of more than 8 bits."""
    if rule.range is not None or met.low > met.high:
        return []
    assumed = "floats were read as 0 (black) to 1 (white)" if met.floats else "16-bit values were read as 0 to 65535"
    return [f"{assumed}; these run from {met.low:g} to {met.high:g}; --range auto or LOW:HIGH reads them otherwise"]


def data_list(root: str | Path | None = None) -> list[SourceInfo]:
    """Every source: what it is, its terms, its shape, and whether its files are here.

    Args:
        root: Folder to look in; MORPHOSPACE_DATA when None.
    """
    listed = []
    for name, kind in SOURCES.items():
        settings = DataSettings(data=name, root=str(root) if root else None)
        here = None if kind.needs_path else _source(settings, lambda line: None).here()
        listed.append(replace(kind.info, here=here))
    return listed


def embedded_instead(settings: DataSettings) -> str:
    """Return the embedded source of the same kind of images; empty if the files of the one named are here."""
    name = settings.data.partition(":")[0]
    instead = SOURCES[name].info.embedded if name in SOURCES else ""
    return "" if not instead or _source(settings, lambda line: None).here() else instead


def fetch(name: str, root: str | Path | None = None, *, say: Say | None = None) -> Path | None:
    """Download the files of a source.

    Args:
        name: The source, `mnist` or `hub:OWNER/NAME`.
        root: Folder to put them below; MORPHOSPACE_DATA when None, and the cache when that is not set.
        say: Takes one line at a time for the user.

    Returns:
        The folder they are in; None when the source needs no files.

    Raises:
        DataError: If there is no such source, or its files must be fetched by hand; says how.
    """
    word = name.partition(":")[0]
    if word not in SOURCES:
        raise DataError(f"source {name!r}", rule=f"there is no such source{nearest(word, SOURCES)}")
    if SOURCES[word].needs_path and name == word:
        raise DataError(f"source {name!r}", rule="needs more than its name", way_out=SOURCES[word].info.description)
    settings = DataSettings(data=name, root=str(root) if root else None)
    return _source(settings, say or (lambda line: None)).fetch()
