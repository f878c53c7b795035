"""Interpolate from one code to another, as a strip, a film or a file of codes; and compare the kinds of path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import SettingError, require
from morphospace.files import check_parent
from morphospace.ranges import AtLeast, Between, check_ranges
from morphospace.runs.condition import Condition
from morphospace.tools.tool import Attributes, File, Label, PointName, check_condition, status, tool

if TYPE_CHECKING:
    from morphospace.runs.run import Run
    from morphospace.tools.walk.paths import Walk, Walks
    from morphospace.tools.walk.study import PathStudy

How = Literal["linear", "slerp", "rotate"]
Steps = Annotated[int, Between(2, 10_000)]
Rate = Annotated[float, Between(0.1, 240)]
ENDS = "the number of a held-out image, train:NUMBER, seed:NUMBER, or a picture"


def interpolate(
    run: Run | str | Path,
    start: PointName,
    end: PointName,
    *,
    how: How = "slerp",
    steps: Steps = 10,
    label: Label = None,
    attributes: Attributes = None,
) -> Walk:
    """Interpolate from one code of a run's space to another.

    Args:
        run: A loaded run or its folder.
        start: `12` for an image that training did not see, `train:12`, `seed:7`, or the path of a picture.
        end: The same.
        how: `linear`, `slerp` or `rotate`.
        steps: Points of the path, start and end included.
        label: The class of a conditional model on the whole path; if left out, that of the start changes into that of
            the end.
        attributes: The same for attributes.

    Raises:
        SettingError: If there is no such path, start, end or number of steps.
        RunError: If the start or end is an image and the model cannot encode.
    """
    check_ranges(interpolate, locals())
    from morphospace.latent.paths import along
    from morphospace.runs.run import loaded
    from morphospace.tools.walk.paths import point_of, walk_along

    run = loaded(run)
    asked = Condition(label, attributes)
    first, last = (point_of(run, what, asked) for what in (start, end))
    codes = along(first.code, last.code, steps, how)
    conditions = None
    if first.condition is not None and last.condition is not None:
        conditions = along(first.condition, last.condition, steps, "linear")
    return walk_along(run, codes, how, (first.words, last.words), conditions)


def check_walk(
    start: object = None,
    end: object = None,
    out: object = None,
    path: str | Path | None = None,
    how: str = "",
    study: bool = False,
    label: object = None,
    attributes: object = None,
    **others: Any,
) -> None:
    """Refuse arguments of the verb that do not go together, and a file of codes that cannot be written.

    Raises:
        SettingError: If one end is missing, or nothing says what to write, or arguments exclude each other.
    """
    if study:
        for flag, value in (("from", start), ("to", end), ("out", out), ("path", path)):
            rule = "does not go with --study, which makes a table over many pairs"
            require(value is None, flag, value, rule, "leave one of them out")
        return
    check_condition(label, attributes)
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
        file = Path(path)
        named = file.suffix.lower() == ".json" and not file.is_dir()
        require(named, "path", str(path), "must be a file name that ends in .json")
        check_parent(file, "path")


def check_film(path: Path) -> None:
    """Refuse an MP4 where its encoder is missing."""
    if path.suffix.lower() == ".mp4":
        from morphospace.pictures.films import check_film_path

        check_film_path(path)


DRAWING = File(
    (".png", ".gif", ".webp", ".mp4"),
    "A strip, .png, or a film, .gif, .webp or .mp4 (extra `video`).",
    check=check_film,
    enlarges=True,
)


@tool(files={"out": DRAWING}, flags={"start": "--from", "end": "--to"}, moves=True, check=check_walk)
def interpolate_or_study(
    run: Run | str | Path,
    *,
    start: PointName | None = None,
    end: PointName | None = None,
    how: Literal["linear", "slerp", "rotate", "all"] = "slerp",
    steps: Steps = 10,
    path: str | Path | None = None,
    fps: Rate = 10.0,
    label: Label = None,
    attributes: Attributes = None,
    study: bool = False,
    pairs: Annotated[int, AtLeast(1)] = 256,
    seeds: Annotated[int, AtLeast(1)] = 3,
    ends: Literal["images", "prior"] | None = None,
    features: str = "",
    say: Callable[[str], None] = status,
) -> Walks | PathStudy:
    """Interpolate from one image to another, as a strip or a film.

    Args:
        run: A loaded run or its folder.
        start: Where to begin: the number of a held-out image, train:NUMBER, seed:NUMBER, or an image file.
        end: Where to end, named in the same way.
        how: The path: straight, along an arc, by a rotation whose norm changes evenly, or all three in rows.
        steps: Points of the path, start and end included.
        path: A .json to save the codes to; without --from and --to, the saved path to decode again.
        fps: Frames per second of a film.
        label: The class of a conditional model on the whole path, by name or number. If left out, the class of the
            start changes into that of the end.
        attributes: The attributes of a conditional model, as Smiling=1,Male=0; those not named are 0.
        study: Instead, compare how close the midpoints of the three paths are to the data.
        pairs: With --study, how many pairs of start and end for each seed.
        seeds: With --study, how many seeds.
        ends: With --study, where the pairs come from: codes of held-out images, or random codes. Images if the model
            has an encoder.
        features: With --study, the features to compare images in: attributes, classifier, autoencoder or pixels. If
            left out, those that `evaluate` takes.
        say: Takes one line at a time for the user.
    """
    if study:
        from morphospace.tools.walk.study import path_study

        return path_study(run, pairs, seeds, ends=ends or "", features=features, say=say)
    from morphospace.tools.walk.paths import Walks, follow

    if start is None or end is None:
        return Walks((follow(run, str(path)),))
    settings: dict[str, Any] = {"steps": steps, "label": label, "attributes": attributes}
    chosen: tuple[How, ...] = ("linear", "slerp", "rotate") if how == "all" else (how,)
    return Walks(tuple(interpolate(run, start, end, how=each, **settings) for each in chosen))
