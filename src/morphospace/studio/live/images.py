"""Small images that a GAN learns in the Play room, and how samples lie to them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import Batches
from morphospace.data.pack import Pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.studio.live.settings import IMAGES, SIDE

SHARE = 0.1  # of its fair share of the samples, which a class must get if it is to count as reached
MOST_COMPARED = 1000  # training images that samples are compared with
ORDINARY = 0.95  # share of held-out images that are as near to a training image


class Images:
    """Images of one source, 16x16.

    Args:
        name: The source's name in the Play room.
    """

    def __init__(self, name: str) -> None:
        self.pack: Pack = prepare(DataSettings(data=IMAGES[name], size=str(SIDE)))
        self.train = self.pack.split("train")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    def batches(self, size: int, seed: int, *, signed: bool) -> Batches:
        """Return batches of the training images."""
        return Batches(self.train, batch_size=size, seed=seed, signed=signed)

    @cached_property
    def known(self) -> Tensor:
        """Training images that samples are compared with, (N, H x W x C) in [0, 1]."""
        return flat(self.train.images[:MOST_COMPARED])

    @cached_property
    def classes(self) -> Tensor | None:
        """The class of each of them; None if they have none."""
        labels = self.train.labels
        return None if labels is None else torch.tensor(labels[:MOST_COMPARED].astype(np.int64))

    @cached_property
    def near(self) -> float:
        """How near to a training image an image counts as one of the data."""
        return float(torch.cdist(flat(self.pack.split("test").images), self.known).min(1).values.quantile(ORDINARY))

    def measured(self, samples: Tensor) -> dict[str, float]:
        """Say how samples (N, C, H, W) in [0, 1] lie to the data, by the nearest training image of each.

        Returns:
            reached: Classes that a tenth of their fair share of the samples are nearest to.
            of: The number of classes, 0 without any.
            good: The share of samples as near to a training image as nearly all held-out images are.
        """
        least, nearest = torch.cdist(samples.permute(0, 2, 3, 1).flatten(1), self.known).min(1)
        found = {"reached": 0.0, "of": 0, "good": float((least <= self.near).float().mean())}
        if self.classes is not None:
            count = int(self.classes.max()) + 1
            shares = self.classes[nearest].bincount(minlength=count)
            found |= {"reached": float((shares >= SHARE * len(samples) / count).sum()), "of": count}
        return found


def flat(images: np.ndarray) -> Tensor:
    """Return uint8 images (N, H, W, C) as rows of values in [0, 1]."""
    return torch.from_numpy(np.array(images)).flatten(1).float() / 255
