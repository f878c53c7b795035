"""Move images along the direction of an attribute, a class or a factor, and add and subtract codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import RunError, SettingError, one_line, require
from morphospace.latent.formula import Part, parse_formula
from morphospace.ranges import AtLeast, Seed, check_ranges
from morphospace.tools.tool import (
    PNG,
    Answer,
    Asked,
    Displayable,
    File,
    Names,
    PointName,
    Summary,
    Written,
    at_images,
    read_names,
    tool,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from morphospace.latent.directions import Direction
    from morphospace.runs.run import Run

Way = Literal["means", "classifier"]
Fitted = Annotated[int, AtLeast(4)]
STRENGTH = "-3:3:7"
STRENGTH_RULE = f"must be FIRST:LAST:COUNT, COUNT from 1 to 200, for instance {STRENGTH}"


@dataclass(frozen=True)
class AttributeWalk(Displayable):
    """Images moved along a direction.

    Attributes:
        direction: The direction.
        strengths: Of the columns, in standard deviations of prior or codes; at 0 is the reconstruction.
        images: uint8 (rows * columns, H, W, C), a row an image.
        starts: Where each row starts, in words.
    """

    direction: Direction
    strengths: tuple[float, ...]
    images: np.ndarray
    starts: tuple[str, ...]

    def picture(self) -> Image.Image:
        """Return a row of images for each start, from the first strength to the last."""
        from morphospace.pictures.sheet import annotated_grid, signed

        heads, across = [signed(value) for value in self.strengths], f"{self.direction.name}, standard deviations"
        return annotated_grid(self.images, len(heads), rows=self.starts, headings=heads, across=across)

    def summary(self) -> Summary:
        """Return how well the direction separates held-out images."""
        return Summary([judgement(self.direction)])

    def show(self, asked: Asked) -> Answer:
        """Write the picture and the direction; return how well the direction separates held-out images."""
        from morphospace.pictures.sheet import save_picture

        words, out, save = asked.words, asked.files["out"], asked.files.get("save")
        facts = asked.facts | {"name": words["name"], "strength": words["strength"], "image": list(self.starts)}
        facts |= {"by": words["by"], "orthogonal_to": list(self.direction.orthogonal_to), "seed": words["seed"]}
        save_picture(out, self.picture(), facts)
        lines = [*self.summary().lines, f"{words['name']}{at_images(facts['images'])}: {out}"]
        if save is not None:
            save_direction(save, self.direction)
            lines.append(f"direction: {save}")
        return Answer({"out": str(out), "save": words["save"], **facts, **facts_of(self.direction)}, lines)


@dataclass(frozen=True)
class Combined(Displayable):
    """The value of a formula.

    Attributes:
        code: (D,).
        image: uint8 (H, W, C), decoded from it.
        terms: The formula's parts in words, with their weights.
        images: uint8 (P, H, W, C): each code of the formula, decoded; for a direction, the sum up to it.
        directions: The directions that the formula names.
    """

    code: Tensor
    image: np.ndarray
    terms: tuple[str, ...]
    images: np.ndarray
    directions: tuple[Direction, ...]

    def picture(self) -> Image.Image:
        """Return the terms in a row, and the result at the end."""
        import numpy as np

        from morphospace.pictures.sheet import annotated_grid

        heads = [self.terms[0].removeprefix("+ "), *self.terms[1:], "="]
        return annotated_grid(np.concatenate([self.images, self.image[None]]), len(heads), headings=heads)

    def summary(self) -> Summary:
        """Return how well each direction of the formula separates held-out images."""
        return Summary([judgement(one) for one in self.directions])

    def show(self, asked: Asked) -> Answer:
        """Write the picture; return the resulting code."""
        from morphospace.pictures.sheet import save_picture

        words, out = asked.words, asked.files["out"]
        facts = asked.facts | {"formula": words["formula"], "by": words["by"]}
        facts |= {"directions_from": words["images"], "seed": words["seed"]}
        save_picture(out, self.picture(), facts)
        lines = [*self.summary().lines, f"{words['formula']}{at_images(facts['images'])}: {out}"]
        found = [facts_of(one) for one in self.directions]
        return Answer({"out": str(out), **facts, "directions": found, "code": self.code.tolist()}, lines)


def facts_of(found: Direction) -> dict[str, Any]:
    """Return what is known of a direction as plain values; a number that is NaN becomes None, as JSON has no NaN."""
    held = None if found.held is None else asdict(found.held)
    if held is not None:
        held = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in held.items()}
    return {"name": found.name, "by": found.by, "gap": found.gap, "held_out": held, **found.facts}


def judgement(found: Direction) -> str:
    """Return in one line how well a direction separates images with the attribute from those without."""
    beside = f", orthogonal to {', '.join(found.orthogonal_to)}" if found.orthogonal_to else ""
    line = f"{found.name} by {found.by}{beside}: with and without lie {found.gap:.2f} standard deviations apart"
    held = found.held
    if held is None or math.isnan(held.auroc):
        return f"{line}; no held-out images of both kinds to judge it by"
    numbers = f"balanced accuracy {held.balanced_accuracy:.3f}, AUROC {held.auroc:.3f}"
    return f"{line}; {numbers} on {held.n:,} held-out images, {held.positives:,} with it"


# -- the Python functions --------------------------------------------------------------------------------------


def direction(
    run: Run | str | Path,
    name: str,
    *,
    by: Way = "means",
    orthogonal_to: Sequence[str] = (),
    images: Fitted = 10_000,
    seed: Seed = 0,
) -> Direction:
    """Find the direction of an attribute, and how well it separates held-out images.

    Args:
        run: A loaded run or its folder; it must have an encoder.
        name: An attribute, a class (against the rest), or a factor (split at its median).
        by: `means`, from the mean code of images without it to that of images with it; or `classifier`, the normal of
            the plane by which logistic regression separates them.
        orthogonal_to: Names whose directions, found in the same way, are removed from it.
        images: From how many training images.
        seed: Which of the training images.

    Raises:
        RunError: If there is no encoder.
        SettingError: If there is no such name, or there are too few images with or without it, or nothing is left of
            the direction beside the others.
    """
    check_ranges(direction, locals())
    from morphospace.runs.run import loaded
    from morphospace.tools.directions.find_directions import directions_of

    return directions_of(loaded(run), [name], by, tuple(orthogonal_to), images, seed)[0]


def attribute(
    run: Run | str | Path,
    name: str,
    *,
    image: PointName | Sequence[PointName] = 0,
    strength: tuple[float, float, int] = (-3.0, 3.0, 7),
    by: Way = "means",
    orthogonal_to: Sequence[str] = (),
    images: Fitted = 10_000,
    seed: Seed = 0,
) -> AttributeWalk:
    """Move images along the direction of an attribute.

    Args:
        run: A loaded run or its folder; it must have an encoder.
        name: An attribute, class or factor, see `direction`.
        image: Which image or images, as for `picked`.
        strength: First, last and how many; in standard deviations, of the prior where it is N(0, I), else of the codes
            along the direction.
        by: See `direction`.
        orthogonal_to: See `direction`.
        images: See `direction`.
        seed: See `direction`.
    """
    check_ranges(attribute, locals())
    check_strength(strength)
    several = [image] if isinstance(image, (int, str, Path)) else list(image)
    require(bool(several), "image", image, "names no image", "give at least one")
    import numpy as np
    import torch

    from morphospace.latent.traverse import walked
    from morphospace.runs.codes import encoder_of
    from morphospace.runs.pick import decoded, start_of
    from morphospace.runs.run import loaded
    from morphospace.tools.directions.find_directions import target_of

    run = loaded(run)
    encoder_of(run)
    target_of(run.pack, name)
    starts = [start_of(run, one) for one in several]
    found = direction(run, name, by=by, orthogonal_to=orthogonal_to, images=images, seed=seed)
    first, last, count = strength
    strengths = torch.linspace(first, last, count, dtype=torch.float64)
    moved = [
        decoded(run, walked(code.double(), found.vector, strengths).float(), condition)
        for code, condition, _, _ in starts
    ]
    words = tuple(f"{place}, condition {condition}" if condition else place for _, _, place, condition in starts)
    return AttributeWalk(found, tuple(strengths.tolist()), np.concatenate(moved), words)


def combine(
    run: Run | str | Path, formula: str, *, by: Way = "means", images: Fitted = 10_000, seed: Seed = 0
) -> Combined:
    """Decode a sum of codes and directions: `12 - 30 + seed:7`, `12 + 2*Smiling`.

    Args:
        run: A loaded run or its folder.
        formula: See `latent.formula.parse_formula`. A direction is as long as in `attribute`.
        by: How directions are found, see `direction`.
        images: From how many training images.
        seed: Which of the training images.

    Raises:
        SettingError: If the formula cannot be read, or names what does not exist.
    """
    check_ranges(combine, locals())
    parts = parse_formula(formula)
    import torch

    from morphospace.runs.pick import decoded, start_of
    from morphospace.runs.run import loaded
    from morphospace.tools.directions.find_directions import directions_of

    run = loaded(run)
    is_point = [part.point or Path(part.name.partition("#")[0]).is_file() for part in parts]
    names = list(dict.fromkeys(part.name for part, point in zip(parts, is_point) if not point))
    starts = {part.name: start_of(run, part.name) for part, point in zip(parts, is_point) if point}
    require(bool(starts), "formula", formula, "names directions only", "begin at a point, for instance 12 + 2*Smiling")
    found = {d.name: d for d in (directions_of(run, names, by, (), images, seed) if names else [])}
    vectors = [starts[p.name][0] if point else found[p.name].vector for p, point in zip(parts, is_point)]
    weights = torch.tensor([part.weight for part in parts], dtype=torch.float64)
    terms = torch.stack(vectors).double() * weights[:, None]
    code = terms.sum(0)
    # Beside the result: each code as it is, and for a direction the sum up to and including it.
    shown = [v.double() if point else so_far for v, point, so_far in zip(vectors, is_point, terms.cumsum(0))]
    condition = next(iter(starts.values()))[1]  # all are decoded under the condition of the first code
    decodings = decoded(run, torch.stack([*shown, code]).float(), condition)
    words = tuple(_term(part, starts[part.name][2] if point else part.name) for part, point in zip(parts, is_point))
    return Combined(code.float(), decodings[-1], words, decodings[:-1], tuple(found.values()))


def _term(part: Part, words: str) -> str:
    sign, size = "-" if part.weight < 0 else "+", abs(part.weight)
    return f"{sign} {words}" if size == 1 else f"{sign} {size:g} × {words}"


# -- the verb --------------------------------------------------------------------------------------------------


def read_strength(text: str) -> tuple[float, float, int]:
    """Read `-3:3:7`: first, last and how many.

    >>> read_strength("-3:3:7")
    (-3.0, 3.0, 7)

    Raises:
        SettingError: If the text is something else.
    """
    try:
        first, last, count = text.split(":")
        strength = float(first), float(last), int(count)
        check_strength(strength)
    except ValueError:
        raise SettingError("strength", text, STRENGTH_RULE) from None
    return strength


def check_strength(strength: tuple[float, float, int]) -> None:
    """Refuse strengths that are not finite, and no or too many of them.

    Raises:
        SettingError: If it is so.
    """
    first, last, count = strength
    require(math.isfinite(first) and math.isfinite(last) and 1 <= count <= 200, "strength", strength, STRENGTH_RULE)


def read_images(text: str) -> tuple[str, ...]:
    """Read images separated by commas; a file's name may hold commas of its own."""
    return (text,) if Path(text).is_file() else read_names(text)


def check_attribute(
    name: str | None = None,
    formula: str | None = None,
    orthogonal_to: Sequence[str] = (),
    save: object = None,
    **others: Any,
) -> None:
    """Refuse arguments of the verb that do not go together, and a formula that cannot be read.

    Raises:
        SettingError: If not exactly one of name and formula is given, or what belongs to a name goes with a formula.
    """
    rule = "give --name, for instance Smiling, or --formula" if name is None else "does not go with --formula"
    require((name is None) != (formula is None), "name", name, rule)
    if formula is not None:
        for flag, value in (("orthogonal_to", orthogonal_to), ("save", save)):
            require(not value, flag, value, "does not go with --formula", "find the direction with --name")
        parse_formula(formula)


@tool(
    files={"out": PNG, "save": File((".safetensors",), "A .safetensors to save the direction to.")},
    defaults={"strength": STRENGTH},
    moves=True,
    check=check_attribute,
)
def attribute_or_formula(
    run: Run | str | Path,
    *,
    name: str | None = None,
    strength: Annotated[tuple[float, float, int], Written(read_strength)] = (-3.0, 3.0, 7),
    image: Annotated[Sequence[str], Written(read_images)] = ("0",),
    by: Way = "means",
    orthogonal_to: Names = (),
    formula: str | None = None,
    images: Fitted = 10_000,
    seed: Seed = 0,
) -> AttributeWalk | Combined:
    """Move images along the direction of an attribute, or add and subtract codes.

    Args:
        run: A loaded run or its folder.
        name: An attribute, a class (against the rest) or a factor (split at its median) of the data.
        strength: FIRST:LAST:COUNT, in standard deviations of the prior where it is N(0, I), else of the codes.
        image: What to move: the number of a held-out image, train:NUMBER, seed:NUMBER, or an image file; several with
            commas, a row each.
        by: From the mean code of images without the attribute to that of images with it, or across the plane of a
            linear classifier.
        orthogonal_to: Names, with commas, whose directions are removed from this one.
        formula: Instead of --name: a sum of codes and directions, as '12 - 30 + seed:7' or '12 + 2*Smiling'.
        images: From how many training images to find the direction.
        seed: Which of the training images to take.
    """
    if formula is not None:
        return combine(run, formula, by=by, images=images, seed=seed)
    how: dict[str, Any] = {"by": by, "orthogonal_to": orthogonal_to, "images": images, "seed": seed}
    return attribute(run, str(name), image=image, strength=strength, **how)


# -- files -----------------------------------------------------------------------------------------------------


def save_direction(path: str | Path, found: Direction) -> None:
    """Write a direction to a .safetensors file, for the explorer or another program."""
    from morphospace.runs.checkpoints import save_vectors

    facts = {key: value for key, value in asdict(found).items() if key != "vector"}
    save_vectors(Path(path), "direction", {"vector": found.vector}, facts)


def load_direction(path: str | Path) -> Direction:
    """Read a direction that `save_direction` wrote.

    Raises:
        RunError: If the file holds something else.
    """
    from morphospace.latent.directions import Direction, Held
    from morphospace.runs.checkpoints import load_vectors

    tensors, facts = load_vectors(Path(path), "direction", ("vector",))
    try:
        held = facts.pop("held")
        others = tuple(facts.pop("orthogonal_to"))
        return Direction(vector=tensors["vector"], held=held and Held(**held), orthogonal_to=others, **facts)
    except (KeyError, TypeError) as error:
        rule = f"its facts are not those of a direction ({one_line(error)})"
        raise RunError("path", str(path), rule, "save it again") from error
