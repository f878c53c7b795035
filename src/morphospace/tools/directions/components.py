"""Components of a run's space, and the plane of the two leading ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.errors import RunError, SettingError, require
from morphospace.latent.components import Components, Moments, active_units, factorised, regressed
from morphospace.latent.first_layer import FirstLayer
from morphospace.latent.traverse import plane
from morphospace.models.contract import Decodes, seeded_noise
from morphospace.randomness import stream
from morphospace.runs.codes import each_code, encoder_of, encodes
from morphospace.runs.pick import decoded, start_of, told_for
from morphospace.runs.run import Run, loaded
from morphospace.runs.vectors import load_vectors, save_vectors

SPACES = ("auto", "codes", "activations", "weights")
BLOCK = 256
MOST = 200  # images in a row of a picture


@dataclass(frozen=True)
class ComponentPlane:
    """Components, and the images on the plane of the two leading ones.

    Attributes:
        components: All of them.
        images: uint8 (G * G, H, W, C), row by row: the first component to the right, the second upwards.
        strengths: Of columns from the left, and of rows from below, in `units`.
        units: `std` or `raw`.
        dims: How many components explain `dims_for` of the variance; None if those kept do not.
        dims_for: The share asked for.
        active: Latent dimensions that say something; None where there is no encoder.
        n: Codes that the components were found from; 0 for weights.
        start: The middle of the plane, in words.
        condition: What a conditional model was told, in words; empty for the others.
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


def some_rows(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return so many of the rows, or all where there are fewer, at random by the seed, in rising order.

    Not the first: a set may be sorted by class.
    """
    if count >= len(rows):
        return np.sort(rows)
    generator = torch.Generator().manual_seed(stream(seed, "rows"))
    return np.sort(rows[torch.randperm(len(rows), generator=generator)[:count].numpy()])


def components(
    run: Run | str | Path,
    images: int = 5000,
    *,
    space: str = "auto",
    seed: int = 0,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> Components:
    """Find the components of a run's space; memory does not depend on the number of images.

    Args:
        run: A loaded run or its folder.
        images: From how many: training images for codes, draws from the prior for activations; no matter for weights.
        space: `codes`: principal components of the posterior means. `activations`: those of what the generator's
            first layer makes of codes, brought back to the code (GANSpace). `weights`: closed-form factorisation of
            that layer's weights (SeFa). `auto`: codes where there is an encoder, else activations.
        seed: Which images or draws.
        label: The class that a conditional generator is told, for activations; the first when nothing is asked for.
        attributes: The attributes that it is told.

    Raises:
        SettingError: Too few images, no such space, or no layer that takes the code itself.
        RunError: Codes of a model without an encoder.
    """
    run = loaded(run)
    condition, _ = told_for(run, label, attributes)
    return found_with_moments(run, images, space, seed, condition)[0]


def found_with_moments(
    run: Run, images: int, space: str, seed: int, condition: Tensor | None
) -> tuple[Components, Moments | None, int]:
    """Return components, the moments of the codes where it is they that vary, and from how many codes.

    Activations are those under one condition (1, K): the leading ones of all would be what sets classes apart, which
    no code brings about.
    """
    require(space in SPACES, "space", space, f"must be one of {', '.join(SPACES)}")
    require(images >= 2, "images", images, "must be at least 2")
    if space == "auto":
        space = "codes" if encodes(run) else "activations"
    if space == "codes":
        moments = moments_of(run, images, seed)
        return moments.components(), moments, moments.count
    layer = _first_layer(run, condition)
    if space == "weights":
        return factorised(layer.weight), None, 0
    width = layer.activations(*_drawn(run, condition, 1, seed)).shape[1]
    count = min(run.model.latent_dim, width, images)
    parts = max(1, images // max(BLOCK, count))
    ends = [round(images * i / parts) for i in range(parts + 1)]

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for start, end in pairwise(ends):
            z, told = _drawn(run, condition, end - start, seed, start)
            yield z, layer.activations(z, told)

    return regressed(pairs, count), None, images


def _drawn(run: Run, condition: Tensor | None, count: int, seed: int, start: int = 0) -> tuple[Tensor, Tensor | None]:
    """Return codes from N(0, I) as the model takes them, each with the same condition (1, K)."""
    model = run.model
    z = seeded_noise(count, model.latent_dim, seed, start=start).to(model.device, model.dtype)
    return z, None if condition is None else condition.to(z).expand(count, -1)


def _first_layer(run: Run, condition: Tensor | None) -> FirstLayer:
    """Return the layer that takes the code itself.

    Raises:
        SettingError: There is none: a network of the caller's own that begins otherwise.
    """
    model = run.model
    assert isinstance(model, Decodes)
    layer = FirstLayer(model.networks, model.decode, *_drawn(run, condition, 2, 0))
    if not layer.found:
        raise SettingError(
            "space",
            rule=f"{model.settings.name} here has no linear layer or convolution that takes the code itself",
            way_out="take --space codes where there is an encoder",
        )
    return layer


def moments_of(run: Run, images: int, seed: int = 0) -> Moments:
    """Return the moments of the posterior means of some training images.

    Raises:
        RunError: There is no encoder.
    """
    try:
        encoder_of(run)
    except RunError as error:
        raise RunError(rule=f"{error}; or take --space activations or weights") from None
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    blocks = (codes for codes, _ in each_code(run, split, some_rows(rows, images, seed)))
    return Moments.of(blocks, run.model.latent_dim)


def pca(
    run: Run | str | Path,
    images: int = 5000,
    *,
    grid: int = 10,
    range: float = 3.0,
    units: str = "std",
    as_published: bool = False,
    dims_for: float = 0.9,
    space: str = "auto",
    image: int | str | Path | None = None,
    seed: int = 0,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> ComponentPlane:
    """Decode the plane of the two leading components, and say how many of them a model uses.

    Args:
        run: A loaded run or its folder.
        images: From how many the components are found, see `components`.
        grid: Images in a row and in a column.
        range: How far the plane reaches from its middle, in `units`.
        units: `std`: standard deviations along each component; `raw`: the codes' own units.
        as_published: Leave the mean of the codes out, and take raw units, as the first published script did.
        dims_for: The share of the variance whose number of components is told.
        space: Whose components, see `components`.
        image: The middle of the plane, as for `picked`; the mean of the codes when None, or seed 0 where it is not
            codes that vary: the middle of a GAN's prior is like no code that it was trained on.
        seed: Which images or draws.
        label: The class that a conditional model is told; the first when nothing is asked for.
        attributes: The attributes that a conditional model is told.
    """
    run = loaded(run)
    require(2 <= grid <= MOST, "grid", grid, f"must be from 2 to {MOST}")
    require(0 < range < float("inf"), "range", range, "must be above 0")
    require(units in ("std", "raw"), "units", units, "must be 'std' or 'raw'")
    require(0 < dims_for <= 1, "dims_for", dims_for, "must be above 0 and at most 1, for instance 0.9")
    condition, told = told_for(run, label, attributes)
    require(image is None or not as_published, "image", image, "does not go with as_published, whose middle is 0")
    found, moments, n = found_with_moments(run, images, space, seed, condition)
    require(len(found) >= 2, "images", images, f"a plane needs two components, and there is {len(found)}")
    units = "raw" if as_published else units
    steps = found.directions[:2] * (1.0 if units == "raw" else found.spread[:2, None])
    strengths = torch.linspace(-range, range, grid, dtype=torch.float64)
    start, words = found.mean, "the mean of the codes"
    if as_published:
        start, words = torch.zeros_like(found.mean), "0"
    elif image is not None or moments is None:
        start, condition, words, told = start_of(run, "seed:0" if image is None else image, label, attributes)
    drawn = decoded(run, plane(start.double(), steps[0], steps[1], strengths), condition)
    active = None if moments is None else active_units(moments.variance)
    dims = found.dims_for(dims_for)
    return ComponentPlane(found, drawn, tuple(strengths.tolist()), units, dims, dims_for, active, n, words, told)


def save_components(path: str | Path, found: Components) -> None:
    """Write components to a .safetensors file, for the explorer or another program."""
    tensors = {name: getattr(found, name) for name in ("mean", "directions", "variance", "spread")}
    save_vectors(Path(path), "components", tensors, {"total": found.total, "space": found.space})


def load_components(path: str | Path) -> Components:
    """Read components that `save_components` wrote.

    Raises:
        RunError: It is something else.
    """
    tensors, facts = load_vectors(Path(path), "components")
    return Components(**tensors, total=facts["total"], space=facts["space"])
