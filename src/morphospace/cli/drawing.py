"""`morpho sample` and `morpho reconstruct`: a run's model at work, as a picture."""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

from morphospace.cli.flags import Json
from morphospace.cli.paths import check_picture
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import require

__all__ = ["reconstruct", "sample"]

COLUMNS = 8
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
    n: Annotated[int, cyclopts.Parameter(help="How many images.")] = 64,
    seed: Annotated[int, cyclopts.Parameter(help="Which; sample i of a seed is the same at any n.")] = 0,
    prior: Annotated[
        Literal["model", "normal"], cyclopts.Parameter(help="The model's own prior, or N(0, I) whatever it has.")
    ] = "model",
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Draw images from a run into a PNG."""
    require(1 <= n <= MOST, "n", n, f"must be from 1 to {MOST}")
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    path = check_picture(out)
    import morphospace as ms
    from morphospace.artifacts.pictures import grid, save_picture

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    facts = {"run": str(loaded.path), "n": n, "seed": seed, "prior": prior, "images": loaded.images, "raw": raw}
    save_picture(path, grid(ms.sample(loaded, n, seed, prior=prior)), facts)
    word = "sample" if n == 1 else "samples"
    return Answer({"out": str(path), **facts}, [f"{n} {word} at {loaded.images:,} images: {path}"])


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
    import numpy as np

    import morphospace as ms
    from morphospace.artifacts.pictures import grid, interleave, save_picture

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    made = ms.reconstruct(loaded, n)
    columns = min(n, COLUMNS)
    white = np.full((-n % columns, *made.images.shape[1:]), 255, np.uint8)  # fills the last row
    originals, images = np.concatenate([made.originals, white]), np.concatenate([made.images, white])
    facts = {"run": str(loaded.path), "n": n, "split": made.split, "images": loaded.images, "raw": raw}
    picture = grid(interleave(originals, images, columns), columns)
    save_picture(path, picture, {**facts, "rows": "original, reconstruction"})
    line = f"{n} of the {made.split} split, originals over reconstructions, mean squared error {made.mse:.5f}: {path}"
    return Answer({"out": str(path), **facts, "mse": made.mse}, [line])
