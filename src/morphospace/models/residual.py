"""The residual towers of R3GAN (Huang et al. 2024) at small scale: no normalisation anywhere.

A block widens by a pointwise convolution, mixes space by a grouped 3x3 one and narrows again. Initial weights keep the
variance instead of norms (fix-up, Zhang et al. 2019): with L blocks in a tower the inner layers are scaled by L^(-1/4)
and the last layer of each block starts at 0, so that a new block is the identity.

Two things differ from the paper. Images of any shape are resampled by averaging (down) and bilinearly (up) rather than
by a fixed binomial filter, and the first map has the image's proportions rather than 4x4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.models.towers import Shape, pyramid

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky ReLU
EXPANSION = 2
GROUP = 16  # channels of a group, as in the paper's networks


def scaled(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Module:
    """Set a layer's weights to N(0, gain^2 / fan-in), its biases to 0, and return it."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def pointwise(inputs: int, outputs: int) -> nn.Module:
    """Return a 1x1 convolution without bias."""
    return scaled(nn.Conv2d(inputs, outputs, 1, bias=False))


class ResidualBlock(nn.Module):
    """x + narrow(act(grouped 3x3(act(widen(x))))), of one shape, with biases only where an activation follows.

    Args:
        channels: Channels of input and output.
        blocks: Number of blocks in the tower, L.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        inner = channels * EXPANSION
        groups = max(1, inner // GROUP) if inner % GROUP == 0 else 1
        gain = GAIN * blocks**-0.25
        self.body = nn.Sequential(
            scaled(nn.Conv2d(channels, inner, 1), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            scaled(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), gain),
            nn.LeakyReLU(SLOPE, inplace=True),
            scaled(nn.Conv2d(inner, channels, 1, bias=False), 0.0),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.body(maps)


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample maps (B, C, h, w) bilinearly to (B, C, *size).

    On a GPU, torch adds the gradient in another order each time, and a resumed run would not be the same run. There,
    each axis is resampled by a matrix product.
    """
    if maps.device.type == "cpu" or not maps.requires_grad:
        return functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    return resampled(maps, size)


def resampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample maps as `enlarged` does, by a matrix product for each axis."""
    batch, channels, height, width = maps.shape
    down, across = (linear_weights(before, after, maps) for before, after in zip((height, width), size))
    rows = maps.permute(0, 2, 3, 1).reshape(batch * height, width, channels)
    wide = (across @ rows).view(batch, height, size[1] * channels)
    return (down @ wide).view(batch, *size, channels).permute(0, 3, 1, 2)


def linear_weights(before: int, after: int, like: Tensor) -> Tensor:
    """Return the matrix (after, before) that resamples an axis linearly."""
    eye = torch.eye(before, device=like.device)[None]
    return functional.interpolate(eye, after, mode="linear", align_corners=False)[0].T.to(like.dtype)


class ResidualDecoder(nn.Module):
    """Codes (B, D) -> raw images (B, C, H, W).

    Args:
        inputs: Number of latent dimensions.
        widths: Channels of the stages, code side first; each but the first doubles the size.
        shape: (H, W, channels) of the output.
        blocks: Residual blocks in each stage.
    """

    def __init__(self, inputs: int, widths: Sequence[int], shape: Shape, blocks: int) -> None:
        super().__init__()
        self.sizes = pyramid(shape, len(widths) - 1)[::-1]
        count = blocks * len(widths)
        # The first map is a learned picture for each channel, times one number from the code for that channel.
        self.basis = nn.Parameter(torch.randn(widths[0], *self.sizes[0]))
        self.stem = scaled(nn.Linear(inputs, widths[0], bias=False))
        narrower = zip(widths, [*widths[1:], shape[2]])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width, count) for _ in range(blocks)), pointwise(width, after))
            for width, after in narrower
        )

    def forward(self, z: Tensor) -> Tensor:
        maps = self.basis * self.stem(z)[:, :, None, None]
        maps = maps.contiguous(memory_format=torch.channels_last)
        for stage, size in zip(self.stages, [*self.sizes[1:], None]):
            maps = stage(maps)
            if size is not None:
                maps = enlarged(maps, size)
        return maps


class ResidualEncoder(nn.Module):
    """Images (B, C, H, W) -> (B, outputs).

    Args:
        shape: (H, W, C) of the images.
        widths: Channels of the stages, image side first; each but the last halves the size.
        outputs: Number of outputs, one for a critic.
        blocks: Residual blocks in each stage.
    """

    def __init__(self, shape: Shape, widths: Sequence[int], outputs: int, blocks: int) -> None:
        super().__init__()
        size = pyramid(shape, len(widths) - 1)[-1]
        count = blocks * len(widths)
        layers: list[nn.Module] = [pointwise(shape[2], widths[0])]
        for i, width in enumerate(widths):
            layers += [ResidualBlock(width, count) for _ in range(blocks)]
            if i < len(widths) - 1:
                layers += [nn.AvgPool2d(2), pointwise(width, widths[i + 1])]
        last = widths[-1]
        self.body = nn.Sequential(*layers)
        self.gather = scaled(nn.Conv2d(last, last, size, groups=last, bias=False))  # one picture a channel
        self.head = scaled(nn.Linear(last, outputs, bias=False))
        self.channels = last

    def features(self, images: Tensor) -> Tensor:
        """Return one number for each channel, (B, widths[-1])."""
        return self.gather(self.body(images)).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))
