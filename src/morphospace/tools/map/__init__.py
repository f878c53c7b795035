"""Maps of codes: where the images of a set lie in a run's latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import MissingExtra, require
from morphospace.ranges import AtLeast, Seed, check_ranges
from morphospace.tools.tool import PNG, Answer, Asked, Displayable, Summary, tool

if TYPE_CHECKING:
    from PIL import Image

    from morphospace.pictures.maps import LatentMap
    from morphospace.runs.run import Run

By = Literal["pca", "umap"]
Show = Literal["classes", "thumbnails", "both"]
AXES = {"codes": "their two numbers", "umap": "UMAP", "pca": "two components"}
MOST_RUNS = 6


def check_map(by: str, runs: Sequence[object] | None = None, **others: Any) -> None:
    """Refuse too many runs or none, and a way to make a map whose package is missing, before any work is done.

    Raises:
        SettingError: If there are no runs, or too many.
        MissingExtra: If umap-learn is not installed.
    """
    fits = runs is None or 1 <= len(runs) <= MOST_RUNS
    require(fits, "runs", len(runs or ()), f"give the folders of 1 to {MOST_RUNS} runs")
    if by == "umap" and find_spec("umap") is None:
        way = "pip install 'morphospace[map]', or take --by pca"
        raise MissingExtra("by = 'umap'", rule="needs umap-learn", way_out=way)


def latent_map(
    run: Run | str | Path,
    images: Annotated[int, AtLeast(3)] = 2000,
    *,
    by: By = "pca",
    attribute: str | None = None,
    seed: Seed = 0,
    behind: bool = True,
) -> LatentMap:
    """Lay the codes (means) of held-out images out in two dimensions.

    Codes of two dimensions are shown as they are. Others are brought to their two leading principal components, whose
    plane the decoder can be asked about, or to a UMAP embedding, which keeps neighbours together and nothing else:
    neither its distances nor its directions are the code's.

    Args:
        run: A loaded run or its folder.
        images: How many images at most, drawn at random from the test split, else from the held-out images.
        by: `pca`, or `umap` (extra `map`).
        attribute: Tell images apart by this attribute, in place of their class.
        seed: Which images, and UMAP's own randomness.
        behind: Decode a grid of points of the plane, where there is one and the model takes no condition.

    Raises:
        SettingError: If a choice is none of those, or the data have no such attribute.
        RunError: If the run has no encoder, or codes of one dimension.
        MissingExtra: If umap-learn is not installed.

    References:
        McInnes, Healy & Melville 2018, "UMAP: uniform manifold approximation and projection".
    """
    check_ranges(latent_map, locals())
    check_map(by)
    from morphospace.runs.run import loaded
    from morphospace.tools.map.layout import laid_out

    return laid_out(loaded(run), images, by, attribute, seed, behind)


@dataclass(frozen=True)
class Maps(Displayable):
    """Maps of several runs, side by side.

    Attributes:
        runs: The runs.
        maps: A map each.
        how: What stands for an image: `classes`, `thumbnails` or `both`.
    """

    runs: Sequence[Run]
    maps: Sequence[LatentMap]
    how: Show

    def picture(self) -> Image.Image:
        """Return the maps side by side."""
        from morphospace.pictures.maps import draw_maps

        return draw_maps(self.maps, self.how)

    def summary(self) -> Summary:
        """Return what each map shows."""
        lines = []
        for run, made in zip(self.runs, self.maps):
            variance = f", {sum(made.share):.0%} of the variance" if made.share else ""
            count = f"{len(made.points):,} codes of the {made.split} split"
            lines.append(f"{run.path}: {count} by {AXES[made.by]}{variance}")
        return Summary(lines)

    def show(self, asked: Asked) -> Answer:
        """Write the picture, and say what each map shows."""
        from morphospace.pictures.sheet import save_picture

        path = asked.files["out"]
        facts = {
            "runs": [str(run.path) for run in self.runs],
            "n": [len(made.points) for made in self.maps],
            "split": [made.split for made in self.maps],
            "by": [made.by for made in self.maps],
            "show": self.how,
            "attribute": asked.words["attribute"],
            "seed": asked.words["seed"],
            "images": [run.images for run in self.runs],
            "share": [made.share and [round(part, 4) for part in made.share] for made in self.maps],
        }
        save_picture(path, self.picture(), facts)
        return Answer({"out": str(path), **facts}, [*self.summary().lines, f"map {path}"])


@tool(files={"out": replace(PNG, enlarges=False)}, moves=True, check=check_map)
def map_codes(
    runs: Sequence[Run],
    *,
    images: Annotated[int, AtLeast(3)] = 2000,
    by: By = "pca",
    show: Show = "both",
    attribute: str | None = None,
    seed: Seed = 0,
    behind: bool = True,
) -> Maps:
    """Map the codes of many images in two dimensions, as a PNG.

    Args:
        runs: The runs' folders; the maps of several stand side by side.
        images: How many images at most, of the test or held-out ones.
        by: The two leading components, or UMAP (extra `map`). Codes of two numbers stay as they are.
        show: Points by class, the images, or both.
        attribute: Colour by this attribute, in place of the class.
        seed: Which images, and UMAP's own randomness.
        behind: Decode the plane behind the points.
    """
    check_ranges(map_codes, locals())
    check_map(by, runs)
    maps = [latent_map(run, images, by=by, attribute=attribute, seed=seed, behind=behind) for run in runs]
    return Maps(runs, maps, show)
