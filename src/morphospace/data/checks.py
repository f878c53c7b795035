"""Which settings fit images: those that a source uses, and those of images that are packed or handed over already."""

from __future__ import annotations

from typing import Any

from morphospace.data.pack import Pack
from morphospace.data.settings import DataSettings
from morphospace.data.sizes import parse_background, parse_range, parse_size, written_range
from morphospace.data.sources import SOURCES
from morphospace.errors import SettingError


def check_settings(settings: DataSettings) -> tuple[int, int] | None:
    """Return the size asked for; None for the images' own.

    Raises:
        SettingError: If a size, a range or a colour is not written as one.
    """
    parse_background(settings.background)
    parse_range(settings.range)
    return parse_size(settings.size)


def check_made(settings: DataSettings, pack: Pack) -> None:
    """Refuse settings that apply only while packing, for images that are packed already otherwise.

    Raises:
        SettingError: If such a setting is given.
    """
    made = pack.manifest.get("rule", {})
    for name in ("classes", "labels", "parts", "background", "crop", "resize", "range"):
        value = getattr(settings, name)
        if value == getattr(DataSettings, name) or (name == "classes" and pack.split("train").labels is not None):
            continue
        there = made.get(name)
        if there is not None and _alike(name, value, there):
            continue
        how = "already, without it" if there is None else f"already, with {name} {_written(name, there)}"
        raise SettingError(name, value, f"{pack.name} is packed {how}", "leave it out or pack again")


def _alike(name: str, value: str, there: Any) -> bool:
    """Return whether a setting says what a manifest does."""
    if name == "background":
        return parse_background(value) == parse_background(there)
    return value == "auto" or parse_range(value) == tuple(there) if name == "range" else value == there


def _written(name: str, there: Any) -> str:
    return written_range(there) if name == "range" else str(there)


def check_given(settings: DataSettings, pack: Pack) -> None:
    """Refuse settings that would change images that the caller handed over.

    Raises:
        SettingError: If such a setting is given.
    """
    height, width, channels = pack.shape
    shape = f"the images handed over are {height}x{width}x{channels}, and stay so"
    if check_settings(settings) not in (None, (height, width)):
        raise SettingError("size", settings.size, shape, "leave it out")
    if settings.channels not in (None, channels):
        raise SettingError("channels", settings.channels, shape, "leave it out")
    check_made(settings, pack)


def takes(data: str, name: str) -> bool:
    """Return whether a source uses a setting: `classes`, `labels`, `parts`, `background` or `range`."""
    kind = SOURCES.get(data.partition(":")[0])
    return kind is not None and name in kind.takes


def check_taken(settings: DataSettings) -> None:
    """Refuse settings that a source ignores.

    Raises:
        SettingError: If such a setting is given; names the sources that use it.
    """
    name, colon, more = settings.data.partition(":")
    kind = SOURCES[name]
    if colon and not (kind.needs_path or kind.variants):
        raise SettingError(
            "data", settings.data, f"{name} takes nothing after its name, and here is {more!r}", f"write {name}"
        )
    if settings.classes and settings.labels:
        raise SettingError("labels", settings.labels, "classes are the folders already", "leave classes or labels out")
    for each in ("classes", "labels", "parts", "background", "range"):
        value = getattr(settings, each)
        if value != getattr(DataSettings, each) and each not in kind.takes:
            others = ", ".join(other for other, source in SOURCES.items() if each in source.takes)
            raise SettingError(each, value, f"{name} does not take it, but {others}", "leave it out")
