"""Which model and settings suit images when none are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morphospace.data.pack import Pack
from morphospace.data.prepare import outlined, prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources import SOURCES
from morphospace.errors import SettingError
from morphospace.runs.configuration import Configuration, fields_of, resolve
from morphospace.runs.folder import own_settings

FEW = 1000
"""With fewer images a GAN's critic learns them by heart; a VAE then shows more."""
SIDE = "64"


@dataclass(frozen=True)
class Choice:
    """A model for images, and why.

    Attributes:
        model: Its name.
        settings: Settings by their plain names, under those that the user gave.
        why: One line.
    """

    model: str
    settings: Mapping[str, Any]
    why: str


def sized(data: DataSettings) -> DataSettings:
    """Return data settings with a size: 64 pixels where neither the user nor the source has one."""
    name = data.data.partition(":")[0]
    unsized = data.size is None and name in SOURCES and SOURCES[name].info.shape is None
    return replace(data, size=SIDE) if unsized else data


def choose(
    data: DataSettings,
    *,
    pack: Pack | None = None,
    dry: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Choice:
    """Choose a model by the number and size of the images, which are packed for it.

    Args:
        data: Which images.
        pack: These images instead, at their own size.
        dry: Look at the files without packing them.
        progress: Called with (images done, images in all) while they are packed.
        say: Takes one line at a time for the user.

    Raises:
        SettingError: If `dry`, and only reading them all tells how many there are.
    """
    if pack is not None:
        return suited(len(pack.split("train")), pack, {})
    given, data = data, sized(data)
    pack = outlined(data) if dry else prepare(data, progress=progress, say=say)
    if pack is None:
        rule = "chosen by the number of images, which is not known before they are read"
        raise SettingError("model", rule=rule, way_out="name one, or leave out --dry-run")
    size = {} if data.size == given.size else {"size": data.size}
    return suited(len(pack.split("train")), pack, size)


def suited(count: int, pack: Pack, size: Mapping[str, Any]) -> Choice:
    """Return what suits `count` images of a pack's shape."""
    height, width, _ = pack.shape
    seen = f"{count:,} images of {height}x{width}"
    if count < FEW:
        settings = {"likelihood": "gaussian", "images": 40_000, "ema_halflife_images": 5_000}
        return Choice("vae", {**size, **settings}, f"{seen}: vae, for so few are too few to train a GAN's critic")
    settings = {"images": 150_000, "augment": ("colour", "translation")}
    return Choice("dcgan", {**size, **settings}, f"{seen}: dcgan, whose samples are sharper than a VAE's")


def configured(
    settings: Mapping[str, Any],
    out: Path | None,
    *,
    pack: Pack | None = None,
    dry: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Configuration, str]:
    """Return the configuration of a run that names neither model nor recipe, and a line that says why it is so.

    Args:
        settings: Settings by their plain names; they win.
        out: The run's folder, if it is known. A run that is there keeps its own model, however many images there are
            by now.
        pack: The images, where they are no source.
        dry: Look at the files without packing them.
        progress: Called with (images done, images in all) while images are packed.
        say: Takes one line at a time for the user.

    Raises:
        SettingError: If no data are named either, or a setting is not one of the chosen model.
    """
    if (before := own_settings(out)) is not None:
        return resolve(overrides=settings, own=before), ""
    if pack is None and "data" not in settings:
        way_out = "name one (see `morpho models`), a --recipe, or --data, whose images then choose it"
        raise SettingError("model", rule="none given", way_out=way_out)
    own = {name: value for name, value in settings.items() if name in fields_of(DataSettings)}
    chosen = choose(resolve("ae", None, own).data, pack=pack, dry=dry, progress=progress, say=say)
    more = dict(chosen.settings)
    if settings.get("epochs") is not None:
        more.pop("images", None)  # a length that is asked for wins, however it is said
    return resolve(chosen.model, None, {**more, **settings}), chosen.why
