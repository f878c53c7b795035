"""Traverse latent dimensions, components or recognised codes: a row of images along each."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from morphospace.ranges import Above, AtLeast, Between, Seed, check_ranges
from morphospace.runs.condition import Condition
from morphospace.tools.directions.pca import Space
from morphospace.tools.tool import (
    PNG,
    Answer,
    Asked,
    Attributes,
    Displayable,
    Label,
    PointName,
    Summary,
    Table,
    at_images,
    check_condition,
    tool,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from morphospace.latent.components import Moments
    from morphospace.runs.run import Run


@dataclass(frozen=True)
class Traversal(Displayable):
    """Traversals along several directions from one code, those that change the image most.

    Attributes:
        names: Of the rows: `dim 3` or `component 1`.
        changes: Mean squared change of a pixel along each row, pixels in [0, 1].
        strengths: Of the columns, in standard deviations; of categories, their numbers.
        images: uint8 (rows * columns, H, W, C), row by row.
        start: Where it starts, in words.
        every: The changes of all directions by number from 0, those left out too.
        condition: The condition of a conditional model, in words; empty for the others.
        categories: Whether each column is a category, and each row another code.
    """

    names: tuple[str, ...]
    changes: tuple[float, ...]
    strengths: tuple[float, ...]
    images: np.ndarray
    start: str
    every: Mapping[int, float]
    condition: str = ""
    categories: bool = False

    def picture(self) -> Image.Image:
        """Return the rows of images, each beside its name and how much it changes the image."""
        from morphospace.pictures.sheet import annotated_grid, signed

        beside = [f"{name}\n{change:.5f}" for name, change in zip(self.names, self.changes)]
        heads = [str(int(value)) if self.categories else signed(value) for value in self.strengths]
        what = "category; the rest of the code stays" if self.categories else f"standard deviations from {self.start}"
        across = f"{what}; at each row: mean squared change of a pixel"
        return annotated_grid(self.images, len(heads), rows=beside, headings=heads, across=across)

    def summary(self) -> Summary:
        """Return how much each direction changes the image."""
        rows = [[name, f"{change:.6f}"] for name, change in zip(self.names, self.changes)]
        return Summary((), Table(("row", "change"), rows))

    def show(self, asked: Asked) -> Answer:
        """Write the picture; return how much each direction changes the image."""
        from morphospace.pictures.sheet import save_picture

        by, out = asked.words["by"], asked.files["out"]
        facts = asked.facts | {name: asked.words[name] for name in ("by", "range", "steps", "image", "seed")}
        facts |= {"start": self.start} | ({"condition": self.condition} if self.condition else {})
        save_picture(out, self.picture(), facts)
        rows = [{"name": name, "change": change} for name, change in zip(self.names, self.changes)]
        every = [self.every[i] for i in sorted(self.every)]
        if self.categories:
            what = f"{len(self.strengths)} categories of {self.start}"
        else:
            what = f"{len(rows)} of {len(every)} {'continuous codes' if by == 'continuous' else by} from {self.start}"
        line = f"{what}{at_images(facts['images'])}: {out}"
        return Answer({"out": str(out), **facts, "rows": rows, "changes": every}, [line], self.summary().table)


@tool(files={"out": PNG}, moves=True, check=check_condition)
def traverse(
    run: Run | str | Path,
    *,
    by: Literal["dims", "components", "continuous", "categories"] = "dims",
    rows: Annotated[int, AtLeast(1)] = 10,
    range: Annotated[float, Above(0)] = 3.0,
    steps: Annotated[int, Between(2, 200)] = 9,
    image: PointName | None = None,
    images: Annotated[int, AtLeast(2)] = 5000,
    space: Space = "auto",
    seed: Seed = 0,
    label: Label = None,
    attributes: Attributes = None,
) -> Traversal:
    """Traverse each latent dimension or component, most influential first.

    Args:
        run: A loaded run or its folder.
        by: What each row goes along: latent dimensions, or components; of `info-gan` also the `continuous` codes, or
            the `categories`, a column each, from one sampled code after the other.
        rows: How many directions to show, those that change the image most; of `categories`, how many codes.
        range: How far to go to either side, in standard deviations: of the prior along a dimension that has N(0, 1),
            else of the codes.
        steps: Images in a row.
        image: Where to start: the number of a held-out image, train:NUMBER, seed:NUMBER, or an image file. The mean
            code if left out; seed:0 if there is no encoder.
        images: From how many training images the mean code or the components are found; random codes if there is no
            encoder.
        space: What the components are of, as for `morpho pca`.
        seed: Which of the images, or random codes, to take.
        label: The class of a conditional model, by name or number.
        attributes: The attributes of a conditional model, as Smiling=1,Male=0; those not named are 0.

    Raises:
        SettingError: If the model has no such codes.
    """
    check_ranges(traverse, locals())
    asked = Condition(label, attributes)
    import torch

    from morphospace.latent.traverse import changes, walked
    from morphospace.models.priors import Normal
    from morphospace.runs.codes import encodes
    from morphospace.runs.pick import condition_with_words, decoded, start_of
    from morphospace.runs.run import loaded
    from morphospace.tools.directions.find_components import code_moments, components_with_moments

    run = loaded(run)
    if by == "categories":
        from morphospace.tools.directions.find_categories import each_category

        shown = each_category(run, rows, image, asked)
        return Traversal(
            shown.names,
            shown.changes,
            tuple(map(float, builtins.range(shown.count))),
            shown.images,
            shown.start,
            dict(enumerate(shown.changes)),
            shown.condition,
            categories=True,
        )
    condition, words = condition_with_words(run, asked)
    moments: Moments | None = None
    first = 0
    if by == "continuous":
        from morphospace.tools.directions.find_categories import layout_of

        layout = layout_of(run, by, "continuous")
        first = layout.categorical
        directions = torch.eye(run.model.latent_dim, dtype=torch.float64)[first : layout.recognised]
    elif by == "components":
        found, moments, _ = components_with_moments(run, images, space, seed, condition)
        directions = found.directions * found.spread[:, None]
    elif not isinstance(run.model.prior, Normal):
        moments = code_moments(run, images, seed)
        directions = moments.variance.sqrt().diag()
    else:
        directions = torch.eye(run.model.latent_dim, dtype=torch.float64)
    if image is None and encodes(run):
        moments = moments or code_moments(run, images, seed)
        start, place = moments.mean, "the mean of the codes"
    else:
        start, condition, place, words = start_of(run, "seed:0" if image is None else image, asked)
    start = start.double()
    strengths = torch.linspace(-range, range, steps, dtype=torch.float64)
    every = changes(lambda codes: decoded(run, codes, condition), start, directions, strengths)
    kept = every[:rows]
    codes = torch.cat([walked(start, directions[change.index], strengths) for change in kept])
    return Traversal(
        names=tuple(f"component {c.index + 1}" if by == "components" else f"dim {first + c.index}" for c in kept),
        changes=tuple(change.size for change in kept),
        strengths=tuple(strengths.tolist()),
        images=decoded(run, codes, condition),
        start=place,
        every={change.index: change.size for change in sorted(every, key=lambda change: change.index)},
        condition=words,
    )
