"""Encoder and decoder between images and small latent maps: residual blocks with group norm (Rombach et al. 2022).

Modules and their parameters have the names that the library diffusers gives those of its `AutoencoderKL`, so that
weights move between the two as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6  # of every group norm


def norm_of(channels: int, groups: int) -> nn.GroupNorm:
    """Return a group norm of maps with so many channels."""
    return nn.GroupNorm(groups, channels, eps=EPS)


class ResidualBlock(nn.Module):
    """x + 3x3(silu(norm(3x3(silu(norm(x)))))), with a 1x1 convolution of x where the channels differ.

    Args:
        inputs: Channels coming in.
        outputs: Channels going out.
        groups: Of each group norm.
    """

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = norm_of(inputs, groups)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = norm_of(outputs, groups)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        made = self.conv1(functional.silu(self.norm1(maps)))
        made = self.conv2(functional.silu(self.norm2(made)))
        return made + (maps if self.conv_shortcut is None else self.conv_shortcut(maps))


class PlaceAttention(nn.Module):
    """x + o(softmax(q k^T / sqrt(C)) v) of the normalised map: every place looks at all places, with one head.

    Args:
        channels: Channels C of the maps (B, C, h, w).
        groups: Of the group norm.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = norm_of(channels, groups)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, maps: Tensor) -> Tensor:
        places = self.group_norm(maps).flatten(2).transpose(1, 2)  # (B, h w, C)
        query, key, value = self.to_q(places), self.to_k(places), self.to_v(places)
        weights = (query @ key.transpose(1, 2) / math.sqrt(query.shape[2])).float().softmax(-1).to(value.dtype)
        seen = self.to_out[0](weights @ value)
        return maps + seen.transpose(1, 2).reshape(maps.shape)


class Middle(nn.Module):
    """Two residual blocks at the smallest map, with attention between them or without.

    Args:
        channels: Channels of the maps.
        groups: Of each group norm.
        attention: Whether there is attention.
    """

    def __init__(self, channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([PlaceAttention(channels, groups)] if attention else [])

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.resnets[0](maps)
        for attend in self.attentions:
            maps = attend(maps)
        return self.resnets[1](maps)


class Halving(nn.Module):
    """A 3x3 convolution with stride 2, of maps padded by one row below and one column to the right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(functional.pad(maps, (0, 1, 0, 1)))


class Doubling(nn.Module):
    """Each place repeated twice in both directions, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(functional.interpolate(maps, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one size of map, and what leads to the next size.

    Args:
        inputs: Channels coming in.
        outputs: Channels of the blocks.
        blocks: Their number.
        groups: Of each group norm.
        kind: Name of the list of what leads on, `downsamplers` or `upsamplers`; empty for the last level.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, groups: int, kind: str) -> None:
        super().__init__()
        channels = [inputs, *[outputs] * blocks]
        self.resnets = nn.ModuleList(ResidualBlock(*each, groups) for each in pairwise(channels))
        self.kind = kind
        if kind:
            self.add_module(kind, nn.ModuleList([Halving(outputs) if kind == "downsamplers" else Doubling(outputs)]))

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.resnets:
            maps = block(maps)
        return self.get_submodule(f"{self.kind}.0")(maps) if self.kind else maps


class LatentEncoder(nn.Module):
    """Images (B, C, H, W) -> mean and log variance of latent maps (2 c, h, w), flattened to (B, 2 D).

    Args:
        channels: Channels C of the images.
        widths: Channels at each size of map, image side first; each but the last is halved.
        latent: Channels c of a latent map.
        blocks: Residual blocks at each size.
        groups: Of each group norm.
        attention: Whether there is attention at the smallest map.
        quant_conv: Whether a last 1x1 convolution follows.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        latent: int,
        *,
        blocks: int,
        groups: int,
        attention: bool,
        quant_conv: bool,
    ) -> None:
        super().__init__()
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Level(widths[max(0, i - 1)], width, blocks, groups, "downsamplers" if i < last else "")
            for i, width in enumerate(widths)
        )
        self.mid_block = Middle(widths[-1], groups, attention)
        self.conv_norm_out = norm_of(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], 2 * latent, 3, padding=1)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1) if quant_conv else None

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv_in(images)
        for level in self.down_blocks:
            maps = level(maps)
        made = self.conv_out(functional.silu(self.conv_norm_out(self.mid_block(maps))))
        return (made if self.quant_conv is None else self.quant_conv(made)).flatten(1)


class LatentDecoder(nn.Module):
    """Latent maps, flattened to (B, D) -> images (B, C, H, W), without bounds.

    Args:
        channels: Channels C of the images.
        widths: Channels at each size of map, image side first.
        places: (c, h, w) of a latent map.
        blocks: Residual blocks at each size are one more.
        groups: Of each group norm.
        attention: Whether there is attention at the smallest map.
        quant_conv: Whether it begins with a 1x1 convolution.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        places: tuple[int, int, int],
        *,
        blocks: int,
        groups: int,
        attention: bool,
        quant_conv: bool,
    ) -> None:
        super().__init__()
        up, last, latent = tuple(widths)[::-1], len(widths) - 1, places[0]
        self.places = places
        self.post_quant_conv = nn.Conv2d(latent, latent, 1) if quant_conv else None
        self.conv_in = nn.Conv2d(latent, up[0], 3, padding=1)
        self.mid_block = Middle(up[0], groups, attention)
        self.up_blocks = nn.ModuleList(
            Level(up[max(0, i - 1)], width, blocks + 1, groups, "upsamplers" if i < last else "")
            for i, width in enumerate(up)
        )
        self.conv_norm_out = norm_of(up[-1], groups)
        self.conv_out = nn.Conv2d(up[-1], channels, 3, padding=1)

    def forward(self, flat: Tensor) -> Tensor:
        maps = flat.unflatten(1, self.places)
        maps = maps if self.post_quant_conv is None else self.post_quant_conv(maps)
        maps = self.mid_block(self.conv_in(maps))
        for level in self.up_blocks:
            maps = level(maps)
        return self.conv_out(functional.silu(self.conv_norm_out(maps)))


class PatchCritic(nn.Module):
    """Images (B, C, H, W) -> a judgement of each of many overlapping patches, (B, 1, h, w) (Isola et al. 2017).

    4x4 convolutions, those before the last two with stride 2, all with a leaky activation; the first one and the last
    have no norm.

    Args:
        channels: Channels of the images.
        widths: Channels of the layers; one more, of one channel, gives the judgements.
        norm: `batch`, or `none`.
    """

    def __init__(self, channels: int, widths: Sequence[int], norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, width in enumerate(widths):
            normalised = norm == "batch" and i > 0
            stride = 2 if i < len(widths) - 1 else 1
            layers.append(nn.Conv2d(channels, width, 4, stride, 1, bias=not normalised))
            layers += [nn.BatchNorm2d(width)] if normalised else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = width
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


def patch_side(widths: Sequence[int]) -> int:
    """Return the height and width, in pixels, of the patch that one judgement of a `PatchCritic` depends on.

    >>> patch_side((64, 128, 256, 512)), patch_side((32, 64, 64))
    (70, 34)
    """
    side = 1
    for stride in (1, 1, *[2] * (len(widths) - 1)):  # from the judgement back to the image
        side = (side - 1) * stride + 4
    return side
