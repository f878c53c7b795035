"""`morpho interpolate` and `morpho morph`: paths through the space, as strips and films."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from morphospace.cli.drawing import Checkpoint, Device, Raw, RunPath, told_of_flags
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_drawing, check_parent
from morphospace.cli.talk import Answer, Spoken, Table, Talk
from morphospace.errors import SettingError, require

if TYPE_CHECKING:
    from morphospace import Run
    from morphospace.pictures.films import Film
    from morphospace.tools.walk.interpolate import Walk
    from morphospace.tools.walk.study import PathStudy


ALL = ("linear", "slerp", "rotate")
ENDS = "the number of a held-out image, train:NUMBER, seed:NUMBER, or a picture"
FILM_FPS = 10.0
MOST_STEPS = 10_000

How = Literal["linear", "slerp", "rotate"]
Label = Annotated[
    str | None, cyclopts.Parameter(help="The class to draw, by number or name. A conditional model; each end's own.")
]
Attributes = Annotated[
    str | None, cyclopts.Parameter(help="The attributes to draw, as Smiling=1,Male=0; those not named are 0.")
]


Steps = Annotated[int, cyclopts.Parameter(help="Points of the path, both ends among them.")]
OfStudy = Annotated[int, cyclopts.Parameter(help="With --study: pairs of ends with each seed.")]
Seeds = Annotated[int, cyclopts.Parameter(help="With --study: how many seeds.")]
Ends = Annotated[
    Literal["images", "prior"] | None,
    cyclopts.Parameter(help="With --study: codes of held-out images, or draws; images where the model encodes."),
]
Features = Annotated[
    str, cyclopts.Parameter(help="With --study: classifier, autoencoder or pixels; the first that the data allow.")
]
Study = Annotated[
    bool, cyclopts.Parameter(help="Instead: hold the three paths' middles against the data.", negative=())
]
Drawing = Annotated[
    str | None, cyclopts.Parameter(help="A strip, .png, or a film, .gif, .webp or .mp4 (extra `video`).")
]
Codes = Annotated[
    str | None, cyclopts.Parameter(help="A .json to save the codes to; without --from and --to, one to draw again.")
]


def interpolate(
    run: RunPath,
    /,
    *,
    start: Annotated[str | None, cyclopts.Parameter(name="--from", help=f"Where to begin: {ENDS}.")] = None,
    end: Annotated[str | None, cyclopts.Parameter(name="--to", help="Where to end, the same.")] = None,
    how: Annotated[
        Literal["linear", "slerp", "rotate", "all"],
        cyclopts.Parameter(help="Straight, on the sphere, by a turn with the norm moving linearly, or all beside."),
    ] = "slerp",
    steps: Steps = 10,
    out: Drawing = None,
    path: Codes = None,
    fps: Annotated[float, cyclopts.Parameter(help="Frames a second of a film.")] = FILM_FPS,
    label: Label = None,
    attributes: Attributes = None,
    study: Study = False,
    pairs: OfStudy = 256,
    seeds: Seeds = 3,
    ends: Ends = None,
    features: Features = "",
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Walk from one image to another, as a strip or a film."""
    how_to_load: dict[str, Any] = {"checkpoint": checkpoint, "raw": raw, "device": device}
    if study:
        for flag, value in (("from", start), ("to", end), ("out", out), ("path", path)):
            require(value is None, flag, value, "does not go with --study, which makes a table over many pairs")
        settings: dict[str, Any] = {"pairs": pairs, "seeds": seeds, "ends": ends or "", "features": features}
        return _studied(run, settings, how_to_load, talk)
    told = told_of_flags(label, attributes)
    _check_walk(start, end, how, out, path)
    require(2 <= steps <= MOST_STEPS, "steps", steps, f"must be from 2, the two ends, to {MOST_STEPS}")
    file = None if out is None else check_drawing(out)
    if file is not None and file.suffix.lower() != ".png":
        from morphospace.pictures.films import playable

        playable(file, fps)
    import morphospace as ms

    loaded = ms.load(run, **how_to_load)
    walks = _walks(loaded, start, end, how, steps, path, told)
    facts: dict[str, Any] = {"run": str(loaded.path), "images": loaded.images, "raw": raw}
    facts |= {"from": walks[0].ends[0], "to": walks[0].ends[1], "steps": len(walks[0].codes)}
    facts |= {"how": [walk.how for walk in walks], **told}
    film = None if file is None else _draw(file, walks, fps, facts)
    lines = [f"{facts['from']} to {facts['to']} in {facts['steps']} steps: {file}{_film_words(film)}"] if file else []
    lines += [f"codes: {path}"] if start is not None and path is not None else []
    return Answer({"out": out, **facts, **_film_facts(film), "paths": _paths(walks)}, lines, _walk_table(walks))


def _walks(
    run: Run, start: str | None, end: str | None, how: str, steps: int, path: str | None, told: dict[str, Any]
) -> list[Walk]:
    """Return the path between the ends, saved where that is asked for, or all three, or one from a file."""
    import morphospace as ms
    from morphospace.tools.walk.interpolate import follow, save_walk

    if start is None or end is None:
        return [follow(run, str(path))]
    walks = [
        ms.interpolate(run, start, end, how=each, steps=steps, **told) for each in (ALL if how == "all" else [how])
    ]
    if path is not None:
        save_walk(Path(path), run, walks[0])
    return walks


def morph(
    run: RunPath,
    /,
    *,
    out: Annotated[str, cyclopts.Parameter(help="The film to write, .gif, .webp or .mp4 (extra `video`).")],
    pairs: Annotated[
        str | None, cyclopts.Parameter(help="Pairs in rows and columns; 4x4, or as many as --from has, if left out.")
    ] = None,
    fps: Annotated[float, cyclopts.Parameter(help="Frames a second; a GIF holds at most 50.")] = 30.0,
    seconds: Annotated[float, cyclopts.Parameter(help="How long one way takes.")] = 5.0,
    how: Annotated[How, cyclopts.Parameter(help="Straight, on the sphere, or by a turn.")] = "slerp",
    there_and_back: Annotated[
        bool, cyclopts.Parameter(help="Also return, so that it loops without a jump.", negative=())
    ] = False,
    start: Annotated[
        str | None,
        cyclopts.Parameter(name="--from", help=f"Where the pairs begin, separated by commas; each is {ENDS}."),
    ] = None,
    end: Annotated[str | None, cyclopts.Parameter(name="--to", help="Where they end, as many.")] = None,
    seed: Annotated[int, cyclopts.Parameter(help="Which held-out images, or draws where there is no encoder.")] = 0,
    label: Label = None,
    attributes: Attributes = None,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Let several pairs of images become each other in step, as a film."""
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    shape = None if pairs is None else parse_pairs(pairs)
    told = told_of_flags(label, attributes)
    starts, ends = (() if side is None else tuple(word.strip() for word in side.split(",")) for side in (start, end))
    from morphospace.pictures.films import check_film_path

    check_film_path(Path(out))
    check_parent(Path(out))
    import morphospace as ms
    from morphospace.tools.walk.morph import check_pairs, frames_in

    check_pairs(shape, starts, ends)
    frames_in(Path(out), fps, seconds)
    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    settings: dict[str, Any] = {"pairs": shape, "fps": fps, "seconds": seconds, "how": how, "seed": seed, **told}
    made = ms.morph(loaded, out, there_and_back=there_and_back, starts=starts, ends=ends, **settings)
    facts = {"run": str(loaded.path), "images": loaded.images, "raw": raw, "how": how, "pairs": list(made.pairs)}
    facts |= {"there_and_back": there_and_back, "seed": seed, "ends": [list(pair) for pair in made.ends], **told}
    count = len(made.ends)
    line = f"{count} pair{'s' * (count > 1)} at {loaded.images:,} images: {out}{_film_words(made.film)}"
    return Answer({"out": out, **facts, **_film_facts(made.film)}, [line])


def parse_pairs(text: str) -> tuple[int, int]:
    """Read `4x3`: rows and columns.

    >>> parse_pairs("4x3")
    (4, 3)

    Raises:
        SettingError: It is something else.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise SettingError("pairs", text, "must be ROWSxCOLUMNS, for instance 4x4")
    return int(found[1]), int(found[2])


def _check_walk(start: str | None, end: str | None, how: str, out: str | None, path: str | None) -> None:
    """Refuse flags of `interpolate` that do not go together, and a path's file that cannot be written."""
    if (start is None) != (end is None):
        name, other = ("to", "from") if end is None else ("from", "to")
        raise SettingError(f"{name} = None", rule=f"must go with --{other}", way_out=f"give both ends, each {ENDS}")
    if start is None:
        require(path is not None, "from", None, f"give --from and --to, each {ENDS}", "or --path, a saved path")
        require(out is not None, "out", None, "name what to draw the path to, a .png, .gif, .webp or .mp4")
        return
    require(out is not None or path is not None, "out", None, "name a .png, .gif, .webp or .mp4", "or --path, a .json")
    if path is not None:
        require(how != "all", "how", how, "does not go with --path, which holds one path", "choose one")
        named = Path(path).suffix.lower() == ".json" and not Path(path).is_dir()
        require(named, "path", path, "must be a file name that ends in .json")
        check_parent(Path(path))


def _draw(file: Path, walks: list[Walk], fps: float, facts: dict[str, Any]) -> Film | None:
    """Write a strip, or a film of it; several paths stand beneath each other under their names."""
    import numpy as np

    from morphospace.pictures.films import save_film
    from morphospace.pictures.sheet import grid, grid_with_row_labels, save_picture

    names, steps = [walk.how for walk in walks], len(walks[0].images)
    if file.suffix.lower() == ".png":
        images = np.concatenate([walk.images for walk in walks])
        save_picture(file, grid_with_row_labels(images, steps, names) if len(walks) > 1 else grid(images, steps), facts)
        return None

    def frame(i: int) -> Any:
        images = np.stack([walk.images[i] for walk in walks])
        return grid_with_row_labels(images, 1, names) if len(walks) > 1 else grid(images, 1)

    colours = [frame(i) for i in (0, steps // 2, steps - 1)]
    return save_film(file, (frame(i) for i in range(steps)), steps, fps, facts, colours=colours)


def _film_facts(film: Film | None) -> dict[str, Any]:
    if film is None:
        return {}
    return {"frames": film.frames, "fps": film.fps, "seconds": film.seconds, "size": list(film.size)}


def _film_words(film: Film | None) -> str:
    if film is None:
        return ""
    size = f"{film.size[0]}x{film.size[1]}, {film.file_bytes / 1e6:.1f} MB"
    return f" ({film.frames} frames in {film.seconds:.2f} s, {film.fps:.4g} a second; {size})"


def _paths(walks: list[Walk]) -> list[dict[str, Any]]:
    """Return paths as JSON has them."""
    return [
        {
            "how": walk.how,
            "speed": walk.pace.mean,
            "speed_spread": walk.pace.spread,
            "norms": walk.norms,
            "codes": walk.codes.tolist(),
            "conditions": None if walk.conditions is None else walk.conditions.tolist(),
        }
        for walk in walks
    ]


def _walk_table(walks: list[Walk]) -> Table:
    """Return speed and norms of paths."""
    rows = [
        [
            walk.how,
            f"{walk.pace.mean:.4f}",
            f"{walk.pace.spread:.4f}",
            *(f"{norm:.2f}" for norm in (walk.norms[0], min(walk.norms), max(walk.norms), walk.norms[-1])),
        ]
        for walk in walks
    ]
    heads = ("path", "change a step", "its spread", "norm / sqrt(z): start", "least", "most", "end")
    return Table(heads, rows)


def _studied(run: str, settings: dict[str, Any], how_to_load: dict[str, Any], talk: Talk) -> Answer:
    """Answer `--study`."""
    import dataclasses

    import morphospace as ms
    from morphospace.tools.walk.study import path_study

    loaded: Run = ms.load(run, **how_to_load)
    found: PathStudy = path_study(loaded, **settings, say=talk.say)
    rows = [
        [row.name, *(_spread(values) for values in (row.distances, row.norms, row.speeds, row.spreads))]
        for row in found.rows
    ]
    heads = ("middle of", "distance to data", "norm / sqrt(z)", "change a step", "its spread")
    seeds = "of one seed" if found.seeds == 1 else f"with each of {found.seeds} seeds (mean, +- between seeds)"
    from_where = "codes of held-out images" if found.ends == "images" else "draws from the prior"
    line = (
        f"{found.pairs} pairs of {from_where} {seeds}; distance to "
        f"the nearest of {found.references:,} training images in {found.features}; {found.steps} steps"
    )
    return Answer({"run": str(loaded.path), **dataclasses.asdict(found)}, [line], Table(heads, rows))


def _spread(values: tuple[float, ...]) -> str:
    """Return a mean and the standard deviation between seeds, of one seed the value alone; nothing of nothing."""
    import statistics

    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.4f}"
