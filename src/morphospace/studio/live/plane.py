"""Points in the plane as images of one pixel and two channels, in [-1, 1]: what a GAN learns in the Play room."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from morphospace.data.batches import Batch
from morphospace.errors import require
from morphospace.randomness import stream

SIGMA = 0.03  # of every cluster, as in the page's own trainer
THIN = 0.02  # of moons and drawings
REACH = 0.1  # how near a sample must be to count as on the data, where there are no clusters
SHARE = 0.1  # of its fair share of the samples, which a cluster must be nearest to if it is to count as reached
REFERENCES = 200  # points that stand for data without clusters
LETTERS = 4  # of each point of a drawing, two for each coordinate
SPAN = 647.5  # half of what two letters to the base of 36 can say


@dataclass(frozen=True)
class Mixture:
    """Equally likely round Gaussians.

    Attributes:
        centres: (M, 2), within [-1, 1].
        sigma: Standard deviation of each.
        clusters: Whether they are clusters to be counted; if not, they are points of one shape.
    """

    centres: Tensor
    sigma: float
    clusters: bool = True

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return points (count, 2) and the modes (count,) they are of."""
        generator = torch.Generator().manual_seed(seed)
        modes = torch.randint(len(self.centres), (count,), generator=generator)
        return self.centres[modes] + self.sigma * torch.randn(count, 2, generator=generator), modes

    @property
    def labels(self) -> Tensor:
        """The label of each centre."""
        return torch.arange(len(self.centres))

    def measured(self, samples: Tensor) -> dict[str, float]:
        """Say how samples (N, 2) lie to the data.

        Returns:
            reached: Clusters that are the nearest one to a tenth of their fair share of the samples; without clusters,
                the share of the data with a sample nearby.
            of: The number of clusters, 0 without any.
            good: The share of samples on the data.
        """
        distances = torch.cdist(samples, self.centres)
        least, nearest = distances.min(1)
        count, good = len(self.centres), 3 * self.sigma if self.clusters else REACH
        if self.clusters:
            near = nearest.bincount(minlength=count) >= SHARE * len(samples) / count
        else:
            near = distances.min(0).values <= REACH
        reached = float(near.sum()) if self.clusters else float(near.float().mean())
        return {
            "reached": reached,
            "of": count if self.clusters else 0,
            "good": float((least <= good).float().mean()),
        }


class Moons(Mixture):
    """Two half circles; a point's label says which."""

    def __init__(self) -> None:
        super().__init__(moons(REFERENCES, 0)[0], THIN, clusters=False)

    def draw(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return points (count, 2) and the moons (count,) they are of."""
        return moons(count, seed)

    @property
    def labels(self) -> Tensor:
        """The label of each reference point."""
        return moons(REFERENCES, 0)[1]


def moons(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return points (count, 2) of two moons, and which of them each is of."""
    generator = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(count, generator=generator)
    lower = torch.randint(2, (count,), generator=generator)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    points = torch.where(lower[:, None] == 0, upper, torch.tensor([1.0, 0.5]) - upper)
    centred = 0.55 * (points - torch.tensor([0.5, 0.25]))
    return centred + THIN * torch.randn(count, 2, generator=generator), lower


def ring(sigma: float = SIGMA) -> Mixture:
    """Return eight clusters on a circle of 0.8."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return Mixture(0.8 * torch.stack([angles.cos(), angles.sin()], 1), sigma)


def grid(sigma: float = SIGMA) -> Mixture:
    """Return twenty-five clusters on a grid."""
    side = torch.linspace(-0.8, 0.8, 5)
    return Mixture(torch.cartesian_prod(side, side), sigma)


def drawing(text: str) -> Mixture:
    """Return the points of a drawing, as the page writes them into a link: four letters a point.

    Raises:
        SettingError: If there is no point, or the text is not of such letters.
    """
    good = re.fullmatch(f"([0-9a-z]{{{LETTERS}}})+", text) is not None
    require(good, "own", text, "must be a drawing of at least one point", "draw on the picture")
    numbers = [int(text[at : at + 2], 36) / SPAN - 1 for at in range(0, len(text), 2)]
    return Mixture(torch.tensor(numbers).clamp(-1, 1).view(-1, 2), THIN, clusters=False)


class Points:
    """Batches of points, drawn afresh; a pure function of the seed and the batch's number, as `Batches` are.

    Args:
        mixture: Where they are from.
        batch_size: Points in a batch.
        seed: Of all of them.
    """

    images = 1_000_000  # what an epoch would be; there is no end to them
    signed = True

    def __init__(self, mixture: Mixture, batch_size: int, seed: int) -> None:
        self.mixture, self.batch_size, self.seed = mixture, batch_size, seed

    def batch(self, index: int) -> Batch:
        """Draw batch `index`."""
        points, modes = self.mixture.draw(self.batch_size, stream(self.seed, "points", index))
        return Batch(points.view(-1, 2, 1, 1), torch.arange(self.batch_size), labels=modes)
