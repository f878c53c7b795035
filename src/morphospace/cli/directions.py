"""`morpho pca`, `morpho traverse` and `morpho attribute`: directions of a run's space, as pictures and numbers."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from morphospace.cli.drawing import Checkpoint, Device, Out, Raw, RunPath
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_parent, check_picture
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import SettingError, require

if TYPE_CHECKING:
    from morphospace.latent.directions import Direction, Held


STEPS = 9
STRENGTH = "-3:3:7"

Images = Annotated[int, cyclopts.Parameter(help="From how many training images, or draws where there is no encoder.")]
Seed = Annotated[int, cyclopts.Parameter(help="Which images, or which draws.")]
Space = Annotated[
    Literal["auto", "codes", "activations", "weights"],
    cyclopts.Parameter(
        help="What varies: codes of images; the generator's first activations, brought back to the code; or its first "
        "layer's weights, factorised. Codes where there is an encoder, else activations, if left out."
    ),
]
Image = Annotated[
    str | None,
    cyclopts.Parameter(
        help="The middle: the number of a held-out image, train:NUMBER, seed:NUMBER, or a picture. The mean of the "
        "codes if left out, seed 0 where there is no encoder."
    ),
]
Label = Annotated[str | None, cyclopts.Parameter(help="The class that a conditional model is told, by number or name.")]
Attributes = Annotated[
    str | None, cyclopts.Parameter(help="The attributes that it is told, as Smiling=1,Male=0; those not named are 0.")
]
Reach = Annotated[
    float,
    cyclopts.Parameter(name="--range", help="How far to go from the middle, in standard deviations (or --units)."),
]
Units = Annotated[
    Literal["std", "raw"], cyclopts.Parameter(help="Standard deviations along each component, or raw code units.")
]
AsPublished = Annotated[
    bool, cyclopts.Parameter(help="Leave the mean of the codes out, in raw units.", negative=(), show_default=False)
]
DimsFor = Annotated[float, cyclopts.Parameter(help="Tell how many components hold this part of the variance.")]
Strength = Annotated[
    str,
    cyclopts.Parameter(
        help="FIRST:LAST:COUNT, in standard deviations (of the prior N(0, I), else of the codes).",
        allow_leading_hyphen=True,
    ),
]
Moved = Annotated[
    str,
    cyclopts.Parameter(
        help="What to move: the number of a held-out image, train:NUMBER, seed:NUMBER, or a picture; several with "
        "commas, a row each."
    ),
]
OrthogonalTo = Annotated[
    str | None, cyclopts.Parameter(help="Names, with commas, that the direction is to leave alone.")
]
Formula = Annotated[
    str | None,
    cyclopts.Parameter(
        help="Instead of --name: a sum of points and directions, as '12 - 30 + seed:7' or '12 + 2*Smiling'.",
        allow_leading_hyphen=True,
    ),
]
By = Annotated[
    Literal["means", "classifier"],
    cyclopts.Parameter(help="From the mean code without it to that with it, or across a linear classifier's plane."),
]


def attribute(
    run: RunPath,
    /,
    *,
    out: Out,
    name: Annotated[str | None, cyclopts.Parameter(help="An attribute, a class or a factor of the data.")] = None,
    strength: Strength = STRENGTH,
    image: Moved = "0",
    by: By = "means",
    orthogonal_to: OrthogonalTo = None,
    formula: Formula = None,
    images: Images = 10_000,
    seed: Seed = 0,
    save: Annotated[str | None, cyclopts.Parameter(help="A .safetensors to save the direction to.")] = None,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Move images along the direction of an attribute, or do sums with them."""
    which = "give --name, for instance Smiling, or --formula" if name is None else "does not go with --formula"
    require((name is None) != (formula is None), "name", name, which)
    strengths, path, kept = parse_strength(strength), check_picture(out), _check_save(save)
    others = tuple(word.strip() for word in (orthogonal_to or "").split(",") if word.strip())
    how = {"checkpoint": checkpoint, "raw": raw, "device": device}
    if formula is not None:
        for flag, value in (("orthogonal_to", orthogonal_to), ("save", save)):
            require(value is None, flag, value, "does not go with --formula", "find the direction with --name")
        return _summed(run, formula, path, {"by": by, "images": images, "seed": seed}, how)
    import morphospace as ms
    from morphospace.pictures.sheet import annotated_grid, save_picture, signed
    from morphospace.tools.directions.attribute import save_direction

    loaded = ms.load(run, **how)  # type: ignore[arg-type]
    starts = [image] if Path(image).is_file() else [word.strip() for word in image.split(",") if word.strip()]
    found: dict[str, Any] = {"by": by, "orthogonal_to": others, "images": images, "seed": seed}
    made = ms.attribute(loaded, str(name), image=starts, strength=strengths, **found)
    facts = {"run": str(loaded.path), "images": loaded.images, "raw": raw, "name": name, "strength": strength}
    facts |= {"image": list(made.starts), "by": by, "orthogonal_to": list(others), "seed": seed}
    heads = [signed(value) for value in made.strengths]
    across = f"{name}, standard deviations"
    picture = annotated_grid(made.images, len(heads), rows=made.starts, headings=heads, across=across)
    save_picture(path, picture, facts)
    if kept is not None:
        save_direction(kept, made.direction)
    lines = [_judgement(made.direction), f"{name} at {loaded.images:,} images: {path}"]
    lines += [] if kept is None else [f"direction: {kept}"]
    return Answer({"out": str(path), "save": save, **facts, **_direction_facts(made.direction)}, lines)


def parse_strength(text: str) -> tuple[float, float, int]:
    """Read `-3:3:7`: first, last and how many.

    >>> parse_strength("-3:3:7")
    (-3.0, 3.0, 7)

    Raises:
        SettingError: It is something else.
    """
    words = text.split(":")
    try:
        first, last, count = float(words[0]), float(words[1]), int(words[2])
        if len(words) == 3 and math.isfinite(first) and math.isfinite(last) and 1 <= count <= 200:
            return first, last, count
    except (ValueError, IndexError):
        pass
    raise SettingError("strength", text, f"must be FIRST:LAST:COUNT, COUNT from 1 to 200, for instance {STRENGTH}")


def _check_save(save: str | None) -> Path | None:
    """Return where to save vectors.

    Raises:
        SettingError: It is no .safetensors, or lies where nothing can be written.
    """
    if save is None:
        return None
    path = Path(save)
    named = path.suffix.lower() == ".safetensors" and not path.is_dir()
    require(named, "save", save, "must be a file name that ends in .safetensors")
    check_parent(path)
    return path


def _summed(run: str, formula: str, path: Path, found: dict[str, Any], how: dict[str, Any]) -> Answer:
    """Answer `--formula`: its terms in a row, and what they come to."""
    import numpy as np

    import morphospace as ms
    from morphospace.latent.formula import parse_formula
    from morphospace.pictures.sheet import annotated_grid, save_picture

    parse_formula(formula)  # before anything is read
    loaded = ms.load(run, **how)
    made = ms.combine(loaded, formula, **found)
    images = np.concatenate([made.images, made.image[None]])
    heads = [made.terms[0].removeprefix("+ "), *made.terms[1:], "="]
    facts = {"run": str(loaded.path), "images": loaded.images, "raw": how["raw"], "formula": formula}
    facts |= {"directions_from" if key == "images" else key: value for key, value in found.items()}
    save_picture(path, annotated_grid(images, len(images), headings=heads), facts)
    lines = [*map(_judgement, made.directions), f"{formula} at {loaded.images:,} images: {path}"]
    directions = [_direction_facts(one) for one in made.directions]
    return Answer({"out": str(path), **facts, "directions": directions, "code": made.code.tolist()}, lines)


def _direction_facts(found: Direction) -> dict[str, Any]:
    held = None if found.held is None else _plain(found.held)
    return {"name": found.name, "by": found.by, "gap": found.gap, "held_out": held, **found.facts}


def _plain(held: Held) -> dict[str, Any]:
    """Return an accuracy as JSON has it, which knows no NaN."""
    return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(held).items()}


def _judgement(found: Direction) -> str:
    """Return what is known of a direction, in a line."""
    beside = f", orthogonal to {', '.join(found.orthogonal_to)}" if found.orthogonal_to else ""
    line = f"{found.name} by {found.by}{beside}: with and without lie {found.gap:.2f} standard deviations apart"
    held = found.held
    if held is None or math.isnan(held.auroc):
        return f"{line}; no held-out images of both kinds to judge it by"
    numbers = f"balanced accuracy {held.balanced_accuracy:.3f}, AUROC {held.auroc:.3f}"
    return f"{line}; {numbers} on {held.n:,} held-out images, {held.positives:,} with it"
