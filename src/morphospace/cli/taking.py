"""`morpho map`, `morpho export` and `morpho card`: a run to look at as a whole, and to take elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

from morphospace.cli.drawing import Checkpoint, Device, Out, Raw
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_picture
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import require

MOST_RUNS = 6


def map_codes(
    *runs: Annotated[str, cyclopts.Parameter(help="The runs' folders; several are put beside each other.")],
    out: Out,
    images: Annotated[int, cyclopts.Parameter(help="How many images at most, of the test or held-out ones.")] = 2000,
    by: Annotated[
        Literal["pca", "umap"],
        cyclopts.Parameter(help="Two leading components, or UMAP (extra map). Codes of two numbers stay as they are."),
    ] = "pca",
    show: Annotated[
        Literal["classes", "thumbnails", "both"], cyclopts.Parameter(help="Points by class, the images, or both.")
    ] = "both",
    attribute: Annotated[
        str | None, cyclopts.Parameter(help="Colour by this attribute, in place of the class.")
    ] = None,
    seed: Annotated[int, cyclopts.Parameter(help="Which images, and UMAP's own randomness.")] = 0,
    behind: Annotated[
        bool, cyclopts.Parameter(help="Decode the plane behind the points. [default: yes]", show_default=False)
    ] = True,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Draw where a set's codes lie, in two dimensions, as a PNG."""
    require(1 <= len(runs) <= MOST_RUNS, "runs", len(runs), f"give the folders of 1 to {MOST_RUNS} runs")
    require(images >= 3, "images", images, "a map needs at least 3")
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    path = check_picture(out)
    import morphospace as ms
    from morphospace.pictures.maps import draw_maps
    from morphospace.pictures.sheet import save_picture
    from morphospace.tools.map import check_by

    check_by(by)
    loaded = [ms.load(run, checkpoint=checkpoint, raw=raw, device=device) for run in runs]
    maps = [ms.latent_map(run, images, by=by, attribute=attribute, seed=seed, behind=behind) for run in loaded]
    facts = {
        "runs": [str(run.path) for run in loaded],
        "n": [len(made.points) for made in maps],
        "split": [made.split for made in maps],
        "by": [made.by for made in maps],
        "show": show,
        "attribute": attribute,
        "seed": seed,
        "images": [run.images for run in loaded],
        "share": [made.share and [round(part, 4) for part in made.share] for made in maps],
    }
    save_picture(path, draw_maps(maps, show), facts)
    lines = []
    for run, made in zip(loaded, maps):
        how = {"codes": "their two numbers", "umap": "UMAP", "pca": "two components"}[made.by]
        how += f", {sum(made.share):.0%} of the variance" if made.share else ""
        lines.append(f"{run.path}: {len(made.points):,} codes of the {made.split} split by {how}")
    return Answer({"out": str(path), **facts}, [*lines, f"map {path}"])
