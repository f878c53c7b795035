"""Find the principal components of a run's space, and decode the plane of the two leading ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import RunError, require
from morphospace.ranges import Above, AtLeast, Between, Seed, check_ranges
from morphospace.runs.condition import Condition
from morphospace.tools.tool import (
    PNG,
    Answer,
    Asked,
    Attributes,
    Displayable,
    File,
    Label,
    PointName,
    Summary,
    at_images,
    check_condition,
    tool,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from morphospace.latent.components import Components
    from morphospace.runs.run import Run

Space = Literal["auto", "codes", "activations", "weights"]


@dataclass(frozen=True)
class ComponentPlane(Displayable):
    """Components, and the images on the plane of the two leading ones.

    Attributes:
        components: All of them.
        images: uint8 (G * G, H, W, C), row by row: the first component to the right, the second upwards.
        strengths: Coordinates of the columns, left to right, and of the rows, bottom to top, in `units`.
        units: `std` or `raw`.
        dims: Number of components that explain `dims_for` of the variance; None if all those kept explain less.
        dims_for: The share asked for.
        active: Active latent dimensions (variance of the mean above 0.01); None where there is no encoder.
        n: Number of codes used to find the components; 0 for weights.
        start: The centre of the plane, in words.
        condition: The condition of a conditional model, in words; empty for the others.
    """

    components: Components
    images: np.ndarray
    strengths: tuple[float, ...]
    units: str
    dims: int | None
    dims_for: float
    active: int | None
    n: int
    start: str
    condition: str = ""

    @property
    def share(self) -> list[float]:
        """The share of the variance that each component explains."""
        return [float(value) for value in self.components.share]

    def picture(self) -> Image.Image:
        """Return the images on the plane, with both axes named."""
        from morphospace.pictures.sheet import annotated_grid, signed

        unit = "standard deviations" if self.units == "std" else "raw units"
        across, up = (f"component {i + 1} ({self.share[i]:.1%}), {unit}" for i in (0, 1))
        heads = [signed(value) for value in self.strengths]
        return annotated_grid(self.images, len(heads), rows=heads[::-1], headings=heads, across=across, up=up)

    def plot(self, name: str = "") -> Image.Image:
        """Return the curve of how much of the variance each component explains; `name` is the run's."""
        from morphospace.pictures.plots import variance_plot

        title = f"{name}: {self.components.space}" + (f" of {self.n:,}" if self.n else "")
        return variance_plot(self.share, dims=self.dims, dims_for=self.dims_for, active=self.active, title=title)

    def show(self, asked: Asked) -> Answer:
        """Write the plane, the plot of the variance beside it and the components; return the shares of the variance."""
        from morphospace.pictures.sheet import save_picture

        words, out, save = asked.words, asked.files["out"], asked.files.get("save")
        beside = out.with_suffix(".variance.png")
        facts: dict[str, Any] = asked.facts | {"n": self.n, "seed": words["seed"], "space": self.components.space}
        facts |= {name: words[name] for name in ("grid", "range", "units", "as_published")}
        facts |= {"units": self.units, "start": self.start} | ({"condition": self.condition} if self.condition else {})
        facts |= {"dims_for": self.dims_for, "dims": self.dims, "active_units": self.active}
        facts["latent_dim"] = len(self.components.mean)
        save_picture(out, self.picture(), facts)
        save_picture(beside, self.plot(Path(facts["run"]).name), facts)
        lines = [*self.summary().lines, f"two leading components{at_images(facts['images'])}: {out}"]
        lines.append(f"variance explained: {beside}")
        if save is not None:
            save_components(save, self.components)
            lines.append(f"components: {save}")
        files = {"out": str(out), "plot": str(beside), "save": words["save"]}
        return Answer({**files, **facts, "explained": self.share}, lines)

    def summary(self) -> Summary:
        """Return in words how many components explain the variance, and how many units are active."""
        dim, share = len(self.components.mean), self.share
        used = f"{self.dims} of {dim} components hold {self.dims_for:.0%}"
        if self.dims is None:
            used = f"all {len(share)} components kept hold {sum(share):.1%}, not {self.dims_for:.0%},"
        lines = [f"{used} of the variance of the {self.components.space}"]
        if self.active is not None:
            lines.append(f"{self.active} active units of {dim} (variance of the mean above 0.01)")
        return Summary(lines)


def components(
    run: Run | str | Path,
    images: Annotated[int, AtLeast(2)] = 5000,
    *,
    space: Space = "auto",
    seed: Seed = 0,
    label: Label = None,
    attributes: Attributes = None,
) -> Components:
    """Find the components of a run's space; memory does not depend on the number of images.

    Args:
        run: A loaded run or its folder.
        images: Number of codes: of training images for codes, random ones for activations; without effect for weights.
        space: `codes`: principal components of the posterior means. `activations`: those of what the generator's
            first layer makes of codes, brought back to the code (GANSpace). `weights`: closed-form factorisation of
            that layer's weights (SeFa). `auto`: codes where there is an encoder, else activations.
        seed: Which images or random codes.
        label: The class of a conditional generator, for activations; the first if left out.
        attributes: The attributes of a conditional generator.

    Raises:
        SettingError: If there are too few images, or no layer that takes the code itself.
        RunError: If codes are asked for and the model has no encoder.
    """
    check_ranges(components, locals())
    asked = Condition(label, attributes)
    from morphospace.runs.pick import condition_with_words
    from morphospace.runs.run import loaded
    from morphospace.tools.directions.find_components import components_with_moments

    run = loaded(run)
    condition, _ = condition_with_words(run, asked)
    return components_with_moments(run, images, space, seed, condition)[0]


def check_plane(
    label: object = None, attributes: object = None, image: object = None, as_published: bool = False, **others: Any
) -> None:
    """Refuse arguments of `pca` that do not go together.

    Raises:
        SettingError: If a label and attributes are both given, or an image and `as_published`.
    """
    check_condition(label, attributes)
    rule = "does not go with as_published, whose centre is 0"
    require(image is None or not as_published, "image", image, rule, "leave one of them out")


@tool(
    files={"out": PNG, "save": File((".safetensors",), "A .safetensors to save the components to.")},
    moves=True,
    check=check_plane,
)
def pca(
    run: Run | str | Path,
    images: Annotated[int, AtLeast(2)] = 5000,
    *,
    grid: Annotated[int, Between(2, 200)] = 10,
    range: Annotated[float, Above(0)] = 3.0,
    units: Literal["std", "raw"] = "std",
    as_published: bool = False,
    dims_for: Annotated[float, Above(0, 1)] = 0.9,
    space: Space = "auto",
    image: PointName | None = None,
    seed: Seed = 0,
    label: Label = None,
    attributes: Attributes = None,
) -> ComponentPlane:
    """Decode the plane of the two leading components, and say how many components explain most of the variance.

    Args:
        run: A loaded run or its folder.
        images: Number of training images used to find the components; of random codes if there is no encoder.
        grid: Images in a row and in a column.
        range: How far the plane reaches from its centre, in standard deviations or raw units.
        units: Standard deviations along each component, or the codes' own units.
        as_published: Centre the plane at 0, not at the mean code, and take raw units, as the original script did.
        dims_for: The share of the variance for which to count components.
        space: Where to find components: in the codes of images; in the generator's first activations, brought back to
            the code (GANSpace); or in the weights of its first layer, factorised (SeFa). `auto` takes codes if there is
            an encoder, else activations.
        image: The centre of the plane: the number of a held-out image, train:NUMBER, seed:NUMBER, or an image file. The
            mean code if left out; seed:0 for activations and weights, because a GAN was not trained on codes like the
            mean of its prior.
        seed: Which of the images, or random codes, to take.
        label: The class of a conditional model, by name or number; the first if left out.
        attributes: The attributes of a conditional model, as Smiling=1,Male=0; those not named are 0.
    """
    check_ranges(pca, locals())
    check_plane(label, attributes, image, as_published)
    asked = Condition(label, attributes)
    import torch

    from morphospace.latent.components import active_units
    from morphospace.latent.traverse import plane
    from morphospace.runs.pick import condition_with_words, decoded, start_of
    from morphospace.runs.run import loaded
    from morphospace.tools.directions.find_components import components_with_moments

    run = loaded(run)
    condition, words = condition_with_words(run, asked)
    found, moments, n = components_with_moments(run, images, space, seed, condition)
    require(len(found) >= 2, "images", images, f"a plane needs two components, and there is {len(found)}")
    units = "raw" if as_published else units
    steps = found.directions[:2] * (1.0 if units == "raw" else found.spread[:2, None])
    strengths = torch.linspace(-range, range, grid, dtype=torch.float64)
    start, place = found.mean, "the mean of the codes"
    if as_published:
        start, place = torch.zeros_like(found.mean), "0"
    elif image is not None or moments is None:
        start, condition, place, words = start_of(run, "seed:0" if image is None else image, asked)
    return ComponentPlane(
        components=found,
        images=decoded(run, plane(start.double(), steps[0], steps[1], strengths), condition),
        strengths=tuple(strengths.tolist()),
        units=units,
        dims=found.dims_for(dims_for),
        dims_for=dims_for,
        active=None if moments is None else active_units(moments.variance),
        n=n,
        start=place,
        condition=words,
    )


VECTORS = ("mean", "directions", "variance", "spread")
"""The tensors of components in a file."""


def save_components(path: str | Path, found: Components) -> None:
    """Write components to a .safetensors file, for the explorer or another program."""
    from morphospace.runs.checkpoints import save_vectors

    tensors = {name: getattr(found, name) for name in VECTORS}
    save_vectors(Path(path), "components", tensors, {"total": found.total, "space": found.space})


def load_components(path: str | Path) -> Components:
    """Read components that `save_components` wrote.

    Raises:
        RunError: If the file holds something else.
    """
    from morphospace.latent.components import Components
    from morphospace.runs.checkpoints import load_vectors

    tensors, facts = load_vectors(Path(path), "components", VECTORS)
    if not isinstance(facts.get("total"), int | float) or not isinstance(facts.get("space"), str):
        raise RunError("path", str(path), "does not say `total` and `space` of the components", "save it again")
    return Components(**tensors, total=facts["total"], space=facts["space"])
