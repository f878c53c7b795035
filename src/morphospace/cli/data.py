"""`morpho data ...`: sources of images, and packs of them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from morphospace.cli.flags import Json, flags_of, with_flags
from morphospace.cli.talk import Answer, Spoken, Table, Talk
from morphospace.cli.verbs import Enlarge, Scale, check_file, enlargement
from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError, command, require
from morphospace.files import check_folder
from morphospace.records import fields_of
from morphospace.runs.configuration import build_section
from morphospace.tools.tool import PNG

if TYPE_CHECKING:
    import numpy as np

    from morphospace.data.kept import CachedPack
    from morphospace.data.pack import Pack


SHOWN, MOST_SHOWN = 64, 10_000

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
            info.size or "as found",
            "x".join(map(str, info.shape)) if info.shape else "as found",
            info.description,
            info.licence,
        )
        for info in found
    ]
    keys = ("name", "here", "shape", "description", "licence", "where", "size")
    data = [{key: getattr(info, key) for key in keys} for info in found]
    headings = ("source", "here", "download", "shape", "what it is", "terms")
    return Answer({"sources": data}, table=Table(headings, rows))


def fetch(
    source: Annotated[str, Parameter(help="The source, or hub:OWNER/NAME.")],
    /,
    *,
    root: Root = None,
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Download a source's files."""
    from morphospace.data.prepare import fetch as fetch_files

    folder = fetch_files(source, root, say=talk.say)
    line = f"{source} is in {folder}" if folder else f"{source}: nothing to fetch"
    return Answer({"source": source, "folder": str(folder) if folder else None}, [line])


def _settings(data: str, given: dict[str, Any]) -> DataSettings:
    """Return data settings of flags, checked as a configuration's are."""
    chosen = {name: value for name, value in given.items() if value is not None}
    settings: DataSettings = build_section(DataSettings, {"data": data, **chosen}, "data")
    return settings


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
    from morphospace.data.prepare import prepare
    from morphospace.tools.train.progress import Watch

    watch = Watch(talk)
    try:
        made = prepare(chosen, out=path, say=watch.say, progress=watch.packing)
    finally:
        watch.close()
    counts = {name: len(split) for name, split in made.splits.items()}
    height, width, channels = made.shape
    sizes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    data = {"pack": str(path), "name": made.name, "shape": list(made.shape), "splits": counts, "hash": made.hash}
    data["skipped"] = made.manifest.get("skipped", {}).get("count", 0)
    lines = [
        f"{'pack':8}{path}: {made.name}, {height}x{width}x{channels}, {sizes}",
        f"{'next':8}{command('train', 'vae', '--data', path, '--out', 'RUN')}",
    ]
    return Answer(data, lines)


def show(
    source: Annotated[str, Parameter(help="A source, folder:PATH, or the folder of a pack.")],
    /,
    *,
    out: Annotated[str, Parameter(help="The picture to write, a .png.")],
    n: Annotated[int | None, Parameter(help="How many images; 64, or as many as there are, if left out.")] = None,
    split: Annotated[str, Parameter(help="Which split.")] = "train",
    seed: Annotated[int, Parameter(help="Which images: drawn at random, shown in the split's order.")] = 0,
    first: Annotated[
        bool, Parameter(help="The first images of the split instead.", negative=(), show_default=False)
    ] = False,
    captions: Annotated[
        Literal["auto", "classes", "attributes", "factors", "none"],
        Parameter(help="What to write under each image; the first of the three that is known if left out."),
    ] = "auto",
    masks: Annotated[
        bool, Parameter(help="Put the masks beside each image, a colour a part.", negative=(), show_default=False)
    ] = False,
    scale: Scale = None,
    enlarge: Enlarge = "nearest",
    json: Json = False,
    talk: Spoken,
    **settings: Any,
) -> Answer:
    """Draw images of a source or pack into a PNG, with what is known of each."""
    require(n is None or 1 <= n <= MOST_SHOWN, "n", n, f"must be from 1 to {MOST_SHOWN}")
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    path = check_file("out", out, PNG)
    larger = enlargement(scale, enlarge, [path])
    chosen = _settings(source, settings)
    from morphospace.pictures.captions import draw_split
    from morphospace.pictures.sheet import save_picture

    found = _prepared(chosen, talk)
    part = found.split(split)
    if n is not None and n > len(part):
        raise SettingError("n", n, f"{found.name} has {len(part):,} images in {split!r}", "ask for no more")
    count = min(SHOWN, len(part)) if n is None else n
    facts = {"data": found.name, "split": split, "n": count, "seed": None if first else seed}
    with larger:
        picture = draw_split(found, part, _rows(len(part), count, None if first else seed), captions, masks=masks)
        save_picture(path, picture, facts)
    return Answer({"out": str(path), **facts}, [f"{count} of {len(part):,} images of {found.name}, {split}: {path}"])


def _rows(length: int, count: int, seed: int | None) -> np.ndarray:
    """Return which rows to show, in order: a random choice, or the first where there is no seed."""
    import numpy as np

    from morphospace.randomness import stream

    if seed is None:
        return np.arange(count)
    return np.sort(np.random.default_rng(stream(seed, "show")).choice(length, count, replace=False))


def _prepared(chosen: DataSettings, talk: Talk, *, notes: bool = True) -> Pack:
    """Return the pack that settings describe, telling how far it is, and what is known of the data with `notes`."""
    from morphospace.data.prepare import prepare
    from morphospace.tools.train.progress import Watch

    watch = Watch(talk)
    try:
        note = watch.say if notes else lambda line: None
        return prepare(chosen, say=watch.say, progress=watch.packing, note=note)
    finally:
        watch.close()


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

    from morphospace.data.checkup import check_pack

    found = check_pack(_prepared(chosen, talk, notes=False), chosen.valid)  # its remarks hold the notes
    lines = [f"{'data':12}{found.name}, {'x'.join(map(str, found.shape))}"]
    for name, split in found.splits.items():
        mean, deviation = (", ".join(f"{value:.1f}" for value in values) for values in (split.mean, split.deviation))
        lines.append(f"{name:12}{split.count:,} images, mean {mean}, deviation {deviation} (of 255)")
        lines.append(f"{'':12}{split.levels} of 256 levels used, {split.ends[0]} to {split.ends[1]}")
        several = {"classes": split.classes, "attributes": split.attributes, "factors": split.factors}
        labelled = [f"{len(table):,} {word}" for word, table in several.items() if table]
        if split.classes:
            labelled[0] += f" of {min(split.classes.values()):,} to {max(split.classes.values()):,} images"
        if split.masks:
            labelled.append("masks " + ", ".join(f"{word} {share:.1%}" for word, share in split.masks.items()))
        if labelled:
            lines.append(f"{'':12}{'; '.join(labelled)}")
    lines += [f"{'look at':12}{remark}" for remark in found.remarks] or [
        f"{'look at':12}nothing: no file lost, no double"
    ]
    return Answer(dataclasses.asdict(found), lines)


def prune(
    runs: Annotated[
        tuple[str, ...],
        Parameter(help="Folders of runs that have moved since they were last used.", show_default=False),
    ] = (),
    /,
    *,
    yes: Annotated[
        bool, Parameter(help="Delete them; without it they are only shown.", negative=(), show_default=False)
    ] = False,
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Show the packs in the cache and who uses them; delete those that no run uses."""
    for folder in runs:
        require(Path(folder).is_dir(), "runs", folder, "is not a folder", "give a run, or a folder of runs")
    from morphospace.data.kept import cached_packs, free_packs, packs_folder
    from morphospace.runs.folder import find_runs

    found = cached_packs(run for folder in runs for run in find_runs(Path(folder)))
    free = [one for one in found if one.free]
    size = sum(one.bytes for one in free)
    freed = free_packs(free) if yes else 0
    data = [
        {
            "pack": str(one.path),
            "bytes": one.bytes,
            "runs": [str(run) for run in one.runs],
            "gone": [str(run) for run in one.gone],
            "can_be_made_again": not one.given,
            "free": one.free,
        }
        for one in found
    ]
    rows = [(one.path.name, _megabytes(one.bytes), _use(one)) for one in found]
    lines = [f"{'cache':8}{packs_folder()}: {_megabytes(sum(one.bytes for one in found))} in {len(found):,} packs"]
    if yes:
        lines.append(f"{'deleted':8}{_megabytes(freed)}")
    elif free:
        again = " ".join(map(shlex.quote, ("morpho", "data", "prune", *runs, "--yes")))
        lines += [f"{'unused':8}{_megabytes(size)} in {len(free):,} packs", f"{'next':8}{again}"]
    about = {"cache": str(packs_folder()), "packs": data, "unused_bytes": size, "freed_bytes": freed}
    return Answer(about, lines, Table(("pack", "size", "used by"), rows, empty="no pack yet"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _use(pack: CachedPack) -> str:
    """Return in words who uses a pack."""
    if pack.unfinished:
        return "none: what a stopped process left"
    made = "; its images came from Python and cannot be made again" if pack.given and pack.free else ""
    shown = pack.runs or pack.gone
    listed = f"{shown[0]}{f' and {len(shown) - 1} more' if len(shown) > 1 else ''}" if shown else ""
    if pack.runs:
        return listed
    return f"{f'not found any more: {listed}' if listed else 'no run that is known'}{made}"


_shaped = flags_of(DataSettings, "Data", only=set(fields_of(DataSettings)) - {"data", "valid"})
pack = with_flags(pack, _shaped)
show = with_flags(show, _shaped)
check = with_flags(check, flags_of(DataSettings, "Data", only=set(fields_of(DataSettings)) - {"data"}))
