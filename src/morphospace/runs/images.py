"""The images of a run: found again by their hash, or given anew by the caller."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from morphospace.data.cache import cache_folder
from morphospace.data.checks import takes
from morphospace.data.datasets import from_dataset
from morphospace.data.kept import find_pack, keep_pack, note_use
from morphospace.data.pack import Pack
from morphospace.data.prepare import prepare
from morphospace.data.rule import Rule, rule_of
from morphospace.data.settings import DataSettings
from morphospace.data.sizes import written_colour, written_range
from morphospace.data.sources import SOURCES
from morphospace.errors import DataError, RunError, SettingError, spelled_out
from morphospace.models.conditioning import class_names
from morphospace.runs.folder import RunFolder

Say = Callable[[str], None]
KEEP_GB = 4.0
AGAIN = "say where they are with --data, in Python ms.load(run, data=...)"


def warn(line: str) -> None:
    """Say a line to a caller who gave no other way to say it."""
    warnings.warn(spelled_out(line), stacklevel=2)


def own_images(folder: RunFolder) -> Pack:
    """Return the pack that a run was trained on: found by its hash, or made again from its source.

    Raises:
        RunError: If it is nowhere, or the source's files have changed.
    """
    wanted, settings = str(folder.facts["data_hash"]), folder.configuration.data
    hub = f"came from hub:{folder.facts['hub']} without its images" if "hub" in folder.facts else ""
    if not wanted:
        raise RunError("run", str(folder.path), "was adopted without images", AGAIN)
    pack = find_pack(wanted)
    if pack is None:
        if folder.facts["data_given"]:
            rule = f"was trained on images that Python handed over, and they are not in the cache ({cache_folder()})"
            raise RunError("run", str(folder.path), hub or rule, AGAIN)
        try:
            pack = prepare(settings, network=False)
        except (DataError, SettingError) as error:
            rule = f"{hub or 'the images of this run were there, and are not any more'} ({error.rule})"
            raise RunError("data", settings.data, rule, AGAIN) from error
    if pack.hash != wanted:
        rule = "is not what the run was trained on (its hash differs), and no pack of that is left"
        raise RunError("data", settings.data, rule, f"restore the files, or {AGAIN}")
    note_use(pack, folder.place)
    return pack


def keep_images(pack: Pack, run: RunFolder, most: float = KEEP_GB, *, note: Say, say: Say) -> None:
    """Let later processes find a run's images: note where they are, and keep those that are in memory only.

    Args:
        pack: The images.
        run: The run.
        most: GB of images that the cache keeps.
        note: Takes a line that the caller should know: the images are not kept.
        say: Takes a line that says where they are kept.
    """
    if pack.path is None and find_pack(pack.hash) is None:
        size = sum(array.nbytes for split in pack.splits.values() for array in split.arrays().values()) / 1e9
        if size > most:
            rule = f"the images take {size:.3g} GB, more than keep_data = {most:g}, and are not kept"
            note(f"{rule}; later give them again, ms.load({str(run.path)!r}, data=...)")
            return
        try:
            place = keep_pack(pack)
        except DataError as error:
            note(f"{error}: the images are not kept; later give them again, ms.load(run, data=...)")
            return
        say(f"kept the images ({size * 1e3:,.3g} MB) in {place}")
    note_use(pack, run.place)


def given_images(folder: RunFolder, data: Any, say: Say | None = None) -> Pack:
    """Return images that the caller gives for a run, and say so if it was trained on others.

    Args:
        folder: The run.
        data: A source, the path of a pack, a `Pack`, or a dataset as for `train`.
        say: Takes a line for the user; a warning when None.

    Raises:
        SettingError: If their shape, classes or attributes are not the run's.
        DataError: If they cannot be read.
    """
    say = say or warn
    if isinstance(data, str | Path):
        pack = prepare(_settings(folder, str(data)), say=say if say is not warn else None)
    else:
        pack = data if isinstance(data, Pack) else from_dataset(data, say=say)
    if pack.shape != folder.shape:
        sizes = ["x".join(map(str, shape)) for shape in (pack.shape, folder.shape)]
        rule = f"its images are {sizes[0]}, this run's {sizes[1]}"
        raise SettingError("data", pack.name, rule, "give them in that size")
    if pack.hash == folder.facts["data_hash"]:
        note_use(pack, folder.place)
        return pack
    for kind, theirs in (("label", class_names(pack)), ("attribute", pack.attribute_names)):
        own = tuple(folder.facts.get(f"{kind}s", ()))
        if folder.configuration.condition.startswith(kind) and theirs != own:
            rule = f"its {kind}s are {_listed(theirs)}, this run's {_listed(own)}"
            raise SettingError("data", pack.name, rule, "give images with the same")
    say(
        f"{pack.name} is not what the run was trained on (its hash differs): "
        "images that count as held out here may have been trained on"
    )
    return pack


def _listed(names: tuple[str, ...], most: int = 10) -> str:
    return f"{', '.join(names[:most]) or 'none'}{', ...' if len(names) > most else ''}"


def rule_for(folder: RunFolder) -> Rule:
    """Return how a picture becomes an image of a run, as its own data did; a pack's own way if it was trained on one.

    Raises:
        DataError: If run.toml holds something else.
    """
    facts, own = folder.facts, folder.configuration.data
    return rule_of(folder.shape, {"crop": own.crop, **facts, **facts.get("rule", {})}, own.max_pixels)


def settings_for(folder: RunFolder, source: str) -> DataSettings:
    """Return the settings that read another source as a run's own data were read, as far as it takes them."""
    rule, own = rule_for(folder), folder.configuration.data
    more: dict[str, Any] = {}
    if takes(source, "background") and rule.background != Rule.background:
        more["background"] = written_colour(rule.background)
    if takes(source, "range") and rule.range is not None:
        more["range"] = written_range(rule.range)
    if source.partition(":")[0] in SOURCES:  # a pack keeps what it was made with
        more |= {"crop": rule.crop, "resize": rule.resize, "max_pixels": own.max_pixels}
    channels: Literal[1, 3] = 1 if rule.channels == 1 else 3
    return DataSettings(data=source, root=own.root, size=f"{rule.height}x{rule.width}", channels=channels, **more)


def _settings(folder: RunFolder, data: str) -> DataSettings:
    """Return the settings by which images that stand for a run's own take their shape and their classes."""
    own, (kind, _, _) = folder.configuration.data, data.partition(":")
    if kind not in SOURCES:  # a pack
        return DataSettings(data=data)
    if kind == own.data.partition(":")[0] and not folder.facts["data_given"]:
        return replace(own, data=data)
    return replace(settings_for(folder, data), classes=takes(data, "classes") and bool(folder.facts.get("labels")))
