"""The network that features of images are taken from: small, and trained on the data set itself."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

FEATURES = 128
LARGEST = 64
"""Longest side that the network looks at; larger images are averaged down to it first."""


def shrunk_to(shape: tuple[int, int, int], largest: int = LARGEST) -> tuple[int, int]:
    """Return the height and width that images are averaged down to, or their own.

    >>> shrunk_to((28, 28, 1)), shrunk_to((218, 178, 3))
    ((28, 28), (64, 52))
    """
    height, width, _ = shape
    scale = min(1.0, largest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


class Trunk(nn.Module):
    """Convolutions that halve the image until it is about 4 pixels, and a linear layer: images (B, C, H, W) in [0, 1]
    to features (B, 128).

    Flattened and not averaged over the image, so that where things are counts. The last activation is smooth: a
    feature that is always zero would make every covariance singular.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = shrunk_to(shape)
        stages = max(1, min(4, math.ceil(math.log2(max(self.size) / 4))))
        layers: list[nn.Module] = []
        channels, height, width = shape[2], *self.size
        for out in (32, 64, 128, 128)[:stages]:
            layers += [nn.Conv2d(channels, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        self.body = nn.Sequential(*layers)
        self.last = (channels, height, width)
        self.project = nn.Linear(channels * height * width, FEATURES)

    def seen(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) in [0, 1] as the convolutions take them."""
        if images.shape[2:] != self.size:
            images = functional.interpolate(images, self.size, mode="area")
        return 2 * images - 1

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps (B, C, h, w) after each convolution of images (B, C, H, W) in [0, 1]."""
        values, found = self.seen(images), []
        for layer in self.body:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                found.append(values)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [0, 1] to features (B, 128)."""
        return functional.silu(self.project(self.body(self.seen(images)).flatten(1)))
