"""`morpho sample` and `morpho reconstruct`: a run's model at work, as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from morphospace.cli.flags import Json
from morphospace.cli.paths import check_picture
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import require

if TYPE_CHECKING:
    import numpy as np

    from morphospace import Run


SAMPLES, COLUMNS = 64, 8
MOST = 65_536

RunPath = Annotated[str, cyclopts.Parameter(help="The run's folder.")]
Checkpoint = Annotated[
    str, cyclopts.Parameter(help="best, last or a number of images; the best one where there is one if left out.")
]
Raw = Annotated[
    bool, cyclopts.Parameter(help="The raw weights, not the averaged ones.", negative=(), show_default=False)
]
Out = Annotated[str, cyclopts.Parameter(help="The picture to write, a .png.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], cyclopts.Parameter(help="Where to compute.")]


def sample(
    run: RunPath,
    /,
    *,
    out: Out,
    n: Annotated[
        int | None,
        cyclopts.Parameter(help="How many images; with a class a row, rounded up to whole rows. 64 if left out."),
    ] = None,
    seed: Annotated[int, cyclopts.Parameter(help="Which; sample i of a seed is the same at any n.")] = 0,
    prior: Annotated[
        Literal["model", "normal", "gaussian", "mixture"],
        cyclopts.Parameter(help="The model's own prior, N(0, I), or one fitted to the codes of training images."),
    ] = "model",
    label: Annotated[
        str | None,
        cyclopts.Parameter(help="The class to draw, by number or name. A conditional model draws each, a row a class."),
    ] = None,
    attributes: Annotated[
        str | None, cyclopts.Parameter(help="The attributes to draw, as Smiling=1,Male=0; those not named are 0.")
    ] = None,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Draw images from a run into a PNG."""
    require(n is None or 1 <= n <= MOST, "n", n, f"must be from 1 to {MOST}")
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    both = f"does not go with attributes = {attributes!r}; ask for one of them"
    require(label is None or attributes is None, "label", label, both)
    wanted = None if attributes is None else parse_attributes(attributes)
    path = check_picture(out)
    import morphospace as ms
    from morphospace.pictures.sheet import grid, grid_of_pairs, save_picture
    from morphospace.tools.sample import sample_masks

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    images, columns, told = drawn(loaded, n, seed, prior, label, wanted)
    facts = {"run": str(loaded.path), "n": len(images), "seed": seed, "prior": prior, "images": loaded.images}
    facts |= {"raw": raw, **told}
    masks = sample_masks(loaded, len(images), seed, prior=prior)
    facts |= {} if masks is None else {"pairs": "sample, mask"}
    save_picture(path, grid(images, columns) if masks is None else grid_of_pairs(images, masks, columns), facts)
    word = "sample" if len(images) == 1 else "samples"
    of = f" of {told['condition']}" if "condition" in told else ""
    lines = [f"{len(images)} {word}{of} at {loaded.images:,} images: {path}"]
    lines += [f"a row each: {'; '.join(told['rows'])}"] if "rows" in told else []
    return Answer({"out": str(path), **facts}, lines)


def drawn(
    run: Run, n: int | None, seed: int, prior: str, label: str | None, attributes: dict[str, float] | None
) -> tuple[np.ndarray, int | None, dict[str, Any]]:
    """Return samples, how many a row where that matters, and what a conditional model was asked for, in words.

    A conditional model that is asked for nothing draws the same codes in every row, a class a row.
    """
    import morphospace as ms
    from morphospace.runs.codes import condition_for

    known = run.model.conditioning
    if known is not None and label is None and attributes is None:
        rows = len(known.spread())
        columns = COLUMNS if n is None else math.ceil(n / rows)
        require(rows * columns <= MOST, "n", n, f"with {rows} whole rows makes more than {MOST} images")
        made = ms.sample_grid(run, columns, seed, prior=prior)
        return made.images, columns, {"rows": list(made.rows), "columns": columns}
    images = ms.sample(run, n or SAMPLES, seed, prior=prior, label=label, attributes=attributes)
    condition = condition_for(run.model, 1, label, attributes)
    if known is None or condition is None:
        return images, None, {}
    return images, None, {"condition": known.words(condition[0])}


def told_of_flags(label: str | None, attributes: str | None) -> dict[str, Any]:
    """Return what a conditional model is told, as the API takes it; only what was given."""
    both = f"does not go with attributes = {attributes!r}; ask for one of them"
    require(label is None or attributes is None, "label", label, both)
    told: dict[str, Any] = {} if label is None else {"label": label}
    return told if attributes is None else {"attributes": parse_attributes(attributes)}


def parse_attributes(text: str) -> dict[str, float]:
    """Read `Smiling=1,Male=0`.

    >>> parse_attributes("Smiling=1, Male=0")
    {'Smiling': 1.0, 'Male': 0.0}

    Raises:
        SettingError: It is something else, or names an attribute twice.
    """
    wanted: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        require(bool(name) and math.isfinite(number), "attributes", text, "must be NAME=1,NAME=0, each with a number")
        require(name not in wanted, "attributes", text, f"names {name} twice")
        wanted[name] = number
    return wanted


def reconstruct(
    run: RunPath,
    /,
    *,
    out: Out,
    n: Annotated[int, cyclopts.Parameter(help="How many images, the first of the test or held-out ones.")] = 16,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Put held-out images over what the model makes of them, as a PNG."""
    require(1 <= n <= MOST, "n", n, f"must be from 1 to {MOST}")
    path = check_picture(out)
    import morphospace as ms
    from morphospace.pictures.sheet import save_picture

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    made = ms.reconstruct(loaded, n)
    facts = {"run": str(loaded.path), "n": n, "split": made.split, "images": loaded.images, "raw": raw}
    facts |= {} if made.masks is None else {"pairs": "image, mask"}
    save_picture(path, made.picture(), {**facts, "rows": "original, reconstruction"})
    line = f"{n} of the {made.split} split, originals over reconstructions, mean squared error {made.mse:.5f}: {path}"
    return Answer({"out": str(path), **facts, "mse": made.mse}, [line])
