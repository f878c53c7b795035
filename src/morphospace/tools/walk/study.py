"""Compare paths by a number: how far from the data their midpoints are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from morphospace.data.batches import held_out
from morphospace.data.pack import Split
from morphospace.evaluation.features import Extractor, extracted
from morphospace.evaluation.neighbours import nearest
from morphospace.latent.paths import HOWS, linear
from morphospace.models.contract import Decodes
from morphospace.randomness import stream
from morphospace.ranges import AtLeast, check_ranges
from morphospace.runs.codes import AT_ONCE, encodes, judged_rows
from morphospace.runs.run import Run, loaded
from morphospace.tools.evaluate.extractors import extractor_for, kind_of
from morphospace.tools.tool import Answer, Asked, Displayable, Summary, Table, status
from morphospace.tools.walk.pairs import Pairs, draw_pairs, frames_of
from morphospace.tools.walk.paths import unit_range

REFERENCES = 10_000
STEPS = 11


@dataclass(frozen=True)
class Judged:
    """A kind of path, or what it is compared with, measured with each seed.

    Attributes:
        name: `linear`, `slerp` or `rotate`; `ends` for the decoded ends, `images` for held-out images themselves.
        distances: Mean distance of the middles to the nearest training image, in features; one a seed.
        norms: Mean length of the middles' codes over sqrt(z); one a seed. Empty for images.
        speeds: Mean change of a pixel a step (root mean square), pixels in [0, 1]; one a seed. Empty but for paths.
        spreads: Standard deviation of that change over a path's steps; one a seed. Empty but for paths.
    """

    name: str
    distances: tuple[float, ...]
    norms: tuple[float, ...] = ()
    speeds: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()


@dataclass(frozen=True)
class PathStudy(Displayable):
    """Paths side by side, between the same ends.

    Attributes:
        rows: Each kind of path, and what it is compared with.
        pairs: Pairs of start and end with each seed.
        seeds: How many seeds.
        ends: `images` (codes of held-out images) or `prior` (random codes).
        steps: Points of a path that its speed is measured on.
        references: Training images among which the nearest was searched.
        features: The features that images were compared in, and their weights.
    """

    rows: tuple[Judged, ...]
    pairs: int
    seeds: int
    ends: str
    steps: int
    references: int
    features: str

    def row(self, name: str) -> Judged:
        """Return the row of that name."""
        return next(row for row in self.rows if row.name == name)

    def summary(self) -> Summary:
        """Return the distances of each kind of path, a row each."""
        rows = [
            [row.name, *map(_mean_and_spread, (row.distances, row.norms, row.speeds, row.spreads))] for row in self.rows
        ]
        table = Table(("middle of", "distance to data", "norm / sqrt(z)", "change a step", "its spread"), rows)
        seeds = "of one seed" if self.seeds == 1 else f"with each of {self.seeds} seeds (mean, +- between seeds)"
        codes = "codes of held-out images" if self.ends == "images" else "draws from the prior"
        references = f"the nearest of {self.references:,} training images in {self.features}"
        line = f"{self.pairs} pairs of {codes} {seeds}; distance to {references}; {self.steps} steps"
        return Summary([line], table)

    def show(self, asked: Asked) -> Answer:
        """Return the distances of each kind of path, a row each."""
        assert asked.run is not None
        return Answer({"run": str(asked.run.path), **asdict(self)}, *self.summary())


def _mean_and_spread(values: tuple[float, ...]) -> str:
    """Return a mean and the standard deviation between seeds, of one seed the value alone; nothing of nothing."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.4f}"


def path_study(
    run: Run | str | Path,
    pairs: Annotated[int, AtLeast(1)] = 256,
    seeds: Annotated[int, AtLeast(1)] = 3,
    *,
    ends: Literal["", "images", "prior"] = "",
    features: str | nn.Module | Extractor = "",
    references: int = REFERENCES,
    say: Callable[[str], None] = status,
) -> PathStudy:
    """Compare the midpoints of linear, spherical and rotating paths with the training images.

    Args:
        run: A loaded run or its folder.
        pairs: Pairs of start and end with each seed.
        seeds: How many times, with other pairs.
        ends: `images` for codes of images that training did not see, `prior` for random codes; images if the model
            encodes when empty.
        features: What images are compared in, as for an evaluation. In `pixels` a blurred image lies near to many
            others, whatever it shows.
        references: At most so many training images, chosen by seed 0.
        say: Takes one line at a time for the user.

    Raises:
        SettingError: If there are not so many images, or no such ends.
    """
    check_ranges(path_study, locals())
    run = loaded(run)
    if not isinstance(features, Extractor):
        kind_of(features, run.pack)
    ends = ends or ("images" if encodes(run) else "prior")
    (split, trained), _ = held_out(run.pack, run.configuration.data.valid)
    known = _images(split, trained, references, stream(0, "references"))
    unseen, unseen_rows, _ = judged_rows(run.pack, run.configuration.data.valid)
    extractor = features if isinstance(features, Extractor) else extractor_for(features, run.pack, say=say)
    reference = extracted(extractor, known).features

    def distance(images: np.ndarray) -> float:
        return float(nearest(extracted(extractor, images).features, reference).distances.mean())

    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ("images", "ends", *HOWS)}
    for seed in range(seeds):
        chosen = draw_pairs(run, pairs, seed, images=ends == "images")
        found["images"].append((distance(_images(unseen, unseen_rows, pairs, stream(seed, "held-out"))),))
        start = next(frames_of(run, chosen, torch.zeros(1), "linear"))
        found["ends"].append((distance(start), relative_norm(chosen.starts)))
        for how, path in HOWS.items():
            middle = next(frames_of(run, chosen, torch.full((1,), 0.5), how))
            norm = relative_norm(path(chosen.starts, chosen.ends, 0.5))
            found[how].append((distance(middle), norm, *paces(run, chosen, how)))
    rows = tuple(Judged(name, *zip(*values, strict=True)) for name, values in found.items())
    return PathStudy(rows, pairs, seeds, ends, STEPS, len(known), extractor.name)


def _images(split: Split, rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most so many images of some rows of a split, chosen by the seed; uint8 (M, H, W, C)."""
    chosen = np.random.default_rng(seed).permutation(len(rows))[:most]
    return np.asarray(split.images[np.sort(rows[chosen])])


def relative_norm(codes: Tensor) -> float:
    """Return the mean length of codes (N, D) over sqrt(D)."""
    return float(codes.norm(dim=1).mean()) / math.sqrt(codes.shape[1])


@torch.no_grad()
def paces(run: Run, pairs: Pairs, how: str) -> tuple[float, float]:
    """Return mean and spread of the steps' change, each a mean over the pairs."""
    steps = (after - before for before, after in _steps(run, pairs, how))
    changes = torch.stack([step.flatten(1).square().mean(1).sqrt() for step in steps])
    return float(changes.mean()), float(changes.std(0, correction=0).mean())


def _steps(run: Run, pairs: Pairs, how: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images (N, C, H, W) in [0, 1] of one time and of the next."""
    model = run.model
    assert isinstance(model, Decodes)
    before = None
    for t in torch.linspace(0, 1, STEPS, dtype=torch.float64).tolist():
        parts = [HOWS[how](pairs.starts, pairs.ends, t)]
        parts += [] if pairs.conditions is None else [linear(*pairs.conditions, t)]
        several = zip(*(part.split(AT_ONCE) for part in parts))
        decodings = [model.decode(*(part.to(model.device, model.dtype) for part in some)) for some in several]
        after = torch.cat([unit_range(model, images) for images in decodings])
        if before is not None:
            yield before, after
        before = after
