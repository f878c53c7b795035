"""Morph several pairs of images into each other at the same time, as a film."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from morphospace.errors import SettingError, require
from morphospace.pictures.display import Media
from morphospace.ranges import Seed, check_ranges
from morphospace.runs.condition import Condition
from morphospace.tools.tool import (
    Answer,
    Asked,
    Attributes,
    Displayable,
    File,
    Label,
    PointName,
    Summary,
    Written,
    at_images,
    check_condition,
    read_names,
    tool,
)
from morphospace.tools.walk.interpolate import How, Rate, check_film

if TYPE_CHECKING:
    from morphospace.pictures.films import Film
    from morphospace.runs.run import Run

MOST_PAIRS, MOST_FRAMES = 4096, 100_000


@dataclass(frozen=True)
class Morph(Displayable):
    """A morph on disk.

    Attributes:
        film: The file, its frames and true rate.
        how: The path that each pair took.
        pairs: Rows and columns of pairs.
        ends: Where each pair's start and end come from, in words.
    """

    film: Film
    how: str
    pairs: tuple[int, int]
    ends: tuple[tuple[str, str], ...]

    def media(self) -> Media:
        """Return the film."""
        kind = "video/mp4" if self.film.path.suffix.lower() == ".mp4" else f"image/{self.film.path.suffix.lower()[1:]}"
        return Media(kind, self.film.path.read_bytes())

    def summary(self) -> Summary:
        """Return the film's place, length and size."""
        count = len(self.ends)
        return Summary([f"{count} pair{'s' * (count > 1)}: {self.film.path} ({self.film.words})"])

    def show(self, asked: Asked) -> Answer:
        """Return what the film shows, and its length and size."""
        facts = asked.facts | {"how": self.how, "pairs": list(self.pairs)}
        facts |= {name: asked.words[name] for name in ("there_and_back", "seed")}
        facts |= {"ends": [list(pair) for pair in self.ends], **asked.condition}
        count = len(self.ends)
        line = f"{count} pair{'s' * (count > 1)}{at_images(facts['images'])}: {self.film.path} ({self.film.words})"
        return Answer({"out": asked.words["out"], **facts, **self.film.as_dict()}, [line])


def read_pairs(text: str) -> tuple[int, int]:
    """Read `4x3`: rows and columns.

    >>> read_pairs("4x3")
    (4, 3)

    Raises:
        SettingError: If the text is something else.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise SettingError("pairs", text, "must be ROWSxCOLUMNS, for instance 4x4")
    return int(found[1]), int(found[2])


def check_pairs(
    pairs: tuple[int, int] | None, starts: Sequence[PointName], ends: Sequence[PointName]
) -> tuple[int, int]:
    """Return rows and columns of pairs, as asked for or as there are.

    Raises:
        SettingError: If the numbers do not go together.
    """
    alike = f"must be as many as the starts, {len(starts)}; give both, or neither for held-out images"
    require(len(starts) == len(ends), "ends", len(ends), alike)
    if pairs is None:
        if not starts:
            return 4, 4
        from morphospace.pictures.sheet import near_square

        columns = near_square(len(starts))
        return -(-len(starts) // columns), columns
    rows, columns = pairs
    shown = f"{rows}x{columns}"
    require(rows >= 1 and columns >= 1, "pairs", shown, "must be ROWSxCOLUMNS, for instance 4x4")
    require(rows * columns <= MOST_PAIRS, "pairs", shown, f"must be at most {MOST_PAIRS} in all")
    given = f"must be as many as the starts and ends, {len(starts)}; or leave it out"
    require(not starts or rows * columns == len(starts), "pairs", shown, given)
    return rows, columns


def frames_in(path: Path, fps: float, seconds: float) -> int:
    """Return how many frames fill so many seconds at the rate that the format can hold.

    Raises:
        SettingError: If there is no such rate, or the length is less than two frames.
    """
    from morphospace.pictures.films import playable

    rate = playable(path, fps)
    steps = round(rate * seconds) if 0 < seconds < MOST_FRAMES else 0
    rule = f"must give from 2 to {MOST_FRAMES} frames at {rate:g} a second"
    require(2 <= steps <= MOST_FRAMES, "seconds", seconds, rule)
    return steps


def check_morph(
    pairs: tuple[int, int] | None = None,
    starts: Sequence[PointName] = (),
    ends: Sequence[PointName] = (),
    out: str | Path = "",
    fps: float = 30,
    seconds: float = 5,
    label: object = None,
    attributes: object = None,
    **others: Any,
) -> None:
    """Refuse arguments that do not go together."""
    check_condition(label, attributes)
    check_pairs(pairs, starts, ends)
    frames_in(Path(out), fps, seconds)


FILM = File(
    (".gif", ".webp", ".mp4"),
    "The film to write, .gif, .webp or .mp4 (extra `video`).",
    required=True,
    check=check_film,
    enlarges=True,
)


@tool(
    files={"out": FILM},
    flags={"starts": "--from", "ends": "--to"},
    defaults={"fps": 30.0, "seconds": 5.0},
    moves=True,
    check=check_morph,
)
def morph(
    run: Run | str | Path,
    out: str | Path,
    *,
    pairs: Annotated[tuple[int, int] | None, Written(read_pairs)] = None,
    fps: Rate = 30,
    seconds: float = 5,
    how: How = "slerp",
    there_and_back: bool = False,
    starts: Annotated[Sequence[PointName], Written(read_names)] = (),
    ends: Annotated[Sequence[PointName], Written(read_names)] = (),
    seed: Seed = 0,
    label: Label = None,
    attributes: Attributes = None,
) -> Morph:
    """Morph several pairs of images into each other at the same time, as a film.

    Args:
        run: A loaded run or its folder.
        out: The film to write, a .gif, .webp or .mp4.
        pairs: Rows and columns of pairs, as 4x3. 4x4 if left out, or as many as --from names.
        fps: Frames per second; a GIF holds at most 50.
        seconds: How long one way takes, start and end included.
        how: The path: straight, along an arc, or by a rotation whose norm changes evenly.
        there_and_back: Also return, so that the film loops without a jump.
        starts: Where the pairs begin, separated by commas: numbers of held-out images, train:NUMBER, seed:NUMBER, or
            image files. Held-out images if left out, or random codes if the model has no encoder.
        ends: Where the pairs end, as many.
        seed: Which held-out images, or random codes, to take.
        label: The class of a conditional model, by name or number; if left out, that of each start changes into that of
            its end.
        attributes: The attributes of a conditional model, as Smiling=1,Male=0; those not named are 0.

    Raises:
        SettingError: If arguments do not go together, or there are not so many images.
    """
    path = Path(out)
    from morphospace.pictures.films import check_film_path, save_film

    check_film_path(path)
    check_ranges(morph, locals())
    rows, columns = check_pairs(pairs, starts, ends)
    steps, asked = frames_in(path, fps, seconds), Condition(label, attributes)
    import torch

    from morphospace.pictures.sheet import grid, near_square
    from morphospace.runs.codes import encodes, judged_rows
    from morphospace.runs.run import loaded
    from morphospace.tools.walk.pairs import draw_pairs, frames_of, pick_pairs

    run = loaded(run)
    if pairs is None and not starts and encodes(run):
        there = len(judged_rows(run.pack, run.configuration.data.valid, least=2 * rows * columns)[1]) // 2
        if 0 < there < rows * columns:  # of a small set, as many as there are
            columns = near_square(there)
            rows = there // columns or 1
            columns = min(columns, there)
    if starts:
        chosen = pick_pairs(run, starts, ends, asked)
    else:
        chosen = draw_pairs(run, rows * columns, seed, asked=asked)
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    if there_and_back:
        t = torch.cat([t, t[1:-1].flip(0)])
    facts = {"run": str(run.path), "images": run.images, "how": how, "pairs": f"{rows}x{columns}", "seed": seed}
    facts |= {"there_and_back": there_and_back, "ends": chosen.words}
    samples = torch.tensor([0, 0.5, 1], dtype=torch.float64)
    few = path.suffix.lower() == ".gif" and run.model.shape[2] == 3
    colours = [grid(images, columns) for images in frames_of(run, chosen, samples, how)] if few else []
    frames = (grid(images, columns) for images in frames_of(run, chosen, t, how))
    film = save_film(path, frames, len(t), fps, facts, colours=colours)
    return Morph(film, how, (rows, columns), chosen.words)
