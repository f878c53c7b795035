"""Differentiable augmentation for GANs on little data (Zhao et al. 2020), of real and generated images alike.

Each image is changed at random, by uniform numbers that the caller passes in. Every change is differentiable in the
image, so that the generator learns through it.
"""

from __future__ import annotations

import torch
from torch import Tensor

DRAWS = 7  # uniform numbers an image


def _colour(images: Tensor, u: Tensor) -> Tensor:
    """Shift brightness by up to a quarter of the range; scale saturation by 0 to 2 and contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = (u[:, i, None, None, None] for i in range(3))
    images = images + (brightness - 0.5)
    if images.shape[1] == 3:  # grey images have no saturation
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _translation(images: Tensor, u: Tensor) -> Tensor:
    """Move by up to an eighth of the size each way, with zeros at the edge."""
    height, width = images.shape[2:]
    down, right = _whole(u[:, 3], height // 8), _whole(u[:, 4], width // 8)
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
    each = torch.arange(len(images), device=images.device)[:, None, None]
    rows, columns = rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    moved = images.permute(0, 2, 3, 1)[each, rows, columns].permute(0, 3, 1, 2)
    return moved * inside


def _cutout(images: Tensor, u: Tensor) -> Tensor:
    """Paint a rectangle of half the size zero, its centre anywhere."""
    height, width = images.shape[2:]
    top = (u[:, 5] * height).floor()[:, None] - height // 4
    left = (u[:, 6] * width).floor()[:, None] - width // 4
    rows, columns = (torch.arange(n, device=images.device)[None] for n in (height, width))
    cut = _within(rows - top, height // 2)[:, None, :, None] & _within(columns - left, width // 2)[:, None, None, :]
    return images * ~cut


def _whole(u: Tensor, most: int) -> Tensor:
    """Turn uniform numbers on [0, 1) into whole ones from -most to most."""
    return (u * (2 * most + 1)).floor().long() - most


def _within(values: Tensor, end: int) -> Tensor:
    return (values >= 0) & (values < end)


POLICIES = {"colour": _colour, "translation": _translation, "cutout": _cutout}


def augment(images: Tensor, policies: tuple[str, ...], uniform: Tensor) -> Tensor:
    """Change images (B, C, H, W) in [-1, 1] by the given policies, in the order of the paper.

    Args:
        images: Real or generated images.
        policies: Of `colour`, `translation` and `cutout`.
        uniform: (B, `DRAWS`) numbers on [0, 1).

    Reference: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training".
    """
    for name, change in POLICIES.items():
        if name in policies:
            images = change(images, uniform.to(images.dtype))
    return images
