"""`morpho data ...`: sources of images, and packs of them."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from morphospace.artifacts.configuration import fields_of
from morphospace.cli.flags import Json, flags_of, with_flags
from morphospace.cli.paths import check_folder, check_picture
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError, require

__all__ = ["check", "fetch", "list_sources", "pack", "show"]

MOST_SHOWN = 10_000

Root = Annotated[str | None, Parameter(help="Folder that holds the source's files; MORPHOSPACE_DATA when not given.")]


def list_sources(*, root: Root = None, json: Json = False, talk: Spoken) -> Answer:
    """List the sources of images and whether their files are here."""
    from morphospace.data.prepare import data_list

    found = data_list(root)
    here = {True: "yes", False: "no", None: "as given"}
    rows = [
        (
            info.name,
            here[info.here],
            "x".join(map(str, info.shape)) if info.shape else "as found",
            info.description,
            info.licence,
        )
        for info in found
    ]
    keys = ("name", "here", "shape", "description", "licence", "where")
    data = [{key: getattr(info, key) for key in keys} for info in found]
    headings = ("source", "here", "shape", "what it is", "terms")
    return Answer({"sources": data}, table=Table(headings, rows))


def fetch(
    source: Annotated[str, Parameter(help="The source.")],
    /,
    *,
    root: Root = None,
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Download a source's files."""
    from morphospace.data.prepare import fetch as fetch_files

    folder = fetch_files(source, root, say=talk.say)
    line = f"{source} is in {folder}" if folder else f"{source} needs no files"
    return Answer({"source": source, "folder": str(folder) if folder else None}, [line])


def _settings(data: str, given: dict[str, Any]) -> DataSettings:
    """Return data settings of flags, checked as a configuration's are."""
    from morphospace.artifacts.configuration import resolve

    chosen = {name: value for name, value in given.items() if value is not None}
    return resolve("vae", None, {"data": data, **chosen}).data


def pack(
    source: Annotated[str, Parameter(help="A source, or folder:PATH.")],
    /,
    *,
    out: Annotated[str, Parameter(help="The pack's folder.")],
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Decode a source once into a pack."""
    chosen = _settings(source, settings)
    path = check_folder(out, holds="manifest.json", what="pack")
    from morphospace.cli.progress import Watch
    from morphospace.data.prepare import prepare

    watch = Watch(talk)
    try:
        made = prepare(chosen, out=path, say=watch.say, progress=watch.packing)
    finally:
        watch.close()
    counts = {name: len(split) for name, split in made.splits.items()}
    height, width, channels = made.shape
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    data = {"pack": str(path), "name": made.name, "shape": list(made.shape), "splits": counts, "hash": made.hash}
    data["skipped"] = made.manifest.get("skipped", {}).get("count", 0)
    lines = [
        f"{'pack':8}{path}: {made.name}, {height}x{width}x{channels}, {told}",
        f"{'next':8}morpho train vae --data {path} --out RUN",
    ]
    return Answer(data, lines)


def show(
    source: Annotated[str, Parameter(help="A source, folder:PATH, or the folder of a pack.")],
    /,
    *,
    out: Annotated[str, Parameter(help="The picture to write, a .png.")],
    n: Annotated[int, Parameter(help="How many images, the first of the split.")] = 64,
    split: Annotated[str, Parameter(help="Which split.")] = "train",
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Draw the first images of a source or pack into a PNG."""
    require(1 <= n <= MOST_SHOWN, "n", n, f"must be from 1 to {MOST_SHOWN}")
    path = check_picture(out)
    chosen = _settings(source, settings)
    import numpy as np

    from morphospace.artifacts.pictures import grid, save_picture
    from morphospace.cli.progress import Watch
    from morphospace.data.prepare import prepare

    watch = Watch(talk)
    try:
        found = prepare(chosen, say=watch.say, progress=watch.packing)
    finally:
        watch.close()
    part = found.split(split)
    if n > len(part):
        raise SettingError(f"n = {n}: {found.name} has {len(part):,} images in {split!r}; ask for no more")
    facts = {"data": found.name, "split": split, "n": n}
    save_picture(path, grid(np.asarray(part.images[:n])), facts)
    return Answer({"out": str(path), **facts}, [f"{n} of {len(part):,} images of {found.name}, {split}: {path}"])


def check(
    source: Annotated[str, Parameter(help="A source, folder:PATH, or the folder of a pack.")],
    /,
    *,
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Look a source or pack over: counts, lost files, duplicates, statistics, classes."""
    chosen = _settings(source, settings)
    import dataclasses

    from morphospace.cli.progress import Watch
    from morphospace.data.checkup import check_pack
    from morphospace.data.prepare import prepare

    watch = Watch(talk)
    try:
        found = check_pack(prepare(chosen, say=watch.say, progress=watch.packing))
    finally:
        watch.close()
    lines = [f"{'data':12}{found.name}, {'x'.join(map(str, found.shape))}"]
    for name, split in found.splits.items():
        mean, deviation = (", ".join(f"{value:.1f}" for value in values) for values in (split.mean, split.deviation))
        lines.append(f"{name:12}{split.count:,} images, mean {mean}, deviation {deviation} (of 255)")
        several = {"classes": split.classes, "attributes": split.attributes, "factors": split.factors}
        told = [f"{len(table):,} {word}" for word, table in several.items() if table]
        if split.classes:
            told[0] += f" of {min(split.classes.values()):,} to {max(split.classes.values()):,} images"
        if split.masks:
            told.append("masks " + ", ".join(f"{word} {share:.1%}" for word, share in split.masks.items()))
        if told:
            lines.append(f"{'':12}{'; '.join(told)}")
    lines += [f"{'look at':12}{remark}" for remark in found.remarks] or [
        f"{'look at':12}nothing: no file lost, no double"
    ]
    return Answer(dataclasses.asdict(found), lines)


_shaped = flags_of(DataSettings, "Data", only=set(fields_of(DataSettings)) - {"data", "valid"})
pack = with_flags(pack, _shaped)
show = with_flags(show, _shaped)
check = with_flags(check, _shaped)
