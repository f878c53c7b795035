"""Augmentation and binarisation of a batch on its device: flips, shifts, brightness.

Everything drawn is a function of (seed, what for, batch index) and drawn for the *global* batch, of which each process
takes its slice; nothing is state, so a run resumes exactly. Draws for `fixed` binarisation depend on the row alone: an
image has one binary version, the same in every run, which is also the one that validation sees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.data.resident import on_device
from morphospace.data.settings import Brightness, DataSettings, Shift
from morphospace.errors import SettingError
from morphospace.ranges import check_ranges

_BINARISE = ("none", "threshold", "fixed", "dynamic")
_SALT = 0x5EED


def _words(count: int, *names: object) -> np.ndarray:
    """`count` raw 64-bit words of PCG64, a stream NumPy promises never to change, that depend on `names` alone."""
    text = "\0".join(map(str, names)).encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.PCG64(seed).random_raw(count)


@dataclass(frozen=True, slots=True)
class Augment:
    """How training images are varied.

    Attributes:
        flip: Mirror each with probability one half; masks of a left and a right part (`l_eye`, `r_eye`) change places.
        shift: Move each by up to so many pixels along both axes, repeating the edge.
        brightness: Multiply each by a factor within 1 - this and 1 + this, cut at white.
        mirrored: Which mask takes the place of each when an image is mirrored; empty when they all stay.
    """

    flip: bool = False
    shift: Shift = 0
    brightness: Brightness = 0.0
    mirrored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(type(self), {"shift": self.shift, "brightness": self.brightness})

    @classmethod
    def of(cls, settings: DataSettings, mask_names: Sequence[str] = ()) -> Augment:
        """What data settings ask for, of images with masks of these names."""
        return cls(settings.flip, settings.shift, settings.brightness, mirrored(mask_names))

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0 or self.brightness > 0

    def draw(self, seed: int, index: int, count: int, mine: slice) -> np.ndarray:
        """Four uniform numbers an image, (B, 4), of this process's slice of global batch `index` of `count`."""
        bits = _words(4 * count, seed, "augment", index).reshape(count, 4)[mine]
        return ((bits >> np.uint64(40)).astype(np.float64) / (1 << 24)).astype(np.float32)

    def apply(self, images: Tensor, masks: Tensor | None, drawn: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Vary images of 0..255 (B, C, H, W) and move their masks with them."""
        device = images.device
        if self.flip or self.shift:
            images, masks = self._moved(images, masks, on_device(drawn, device))
        if self.brightness:
            factor = 1 + self.brightness * (2 * drawn[:, 3] - 1)
            factors = on_device(factor.astype(np.float32), device)
            images = (images * factors[:, None, None, None]).clamp_(0, 255)
        return images, masks

    def _moved(self, images: Tensor, masks: Tensor | None, drawn: Tensor) -> tuple[Tensor, Tensor | None]:
        count, _, height, width = images.shape
        steps = (drawn[:, 1:3] * (2 * self.shift + 1)).to(torch.int64) - self.shift
        y = torch.arange(height, device=images.device) + steps[:, :1]
        x = torch.arange(width, device=images.device) + steps[:, 1:]
        y, x = y.clamp_(0, height - 1), x.clamp_(0, width - 1)
        if self.flip:
            x = torch.where(drawn[:, :1] < 0.5, width - 1 - x, x)
        first = torch.arange(count, device=images.device)[:, None, None] * height
        at = ((first + y[:, :, None]) * width + x[:, None, :]).flatten()

        def move(planes: Tensor) -> Tensor:
            # Rows of NHWC, as it lies in memory: seven times quicker than three index tensors.
            pixels = planes.permute(0, 2, 3, 1)
            return pixels.reshape(-1, pixels.shape[-1]).index_select(0, at).view(pixels.shape).permute(0, 3, 1, 2)

        moved = None if masks is None else move(masks)
        if moved is not None and self.flip and self.mirrored:
            turned = drawn[:, 0, None, None, None] < 0.5
            other = torch.stack([moved[:, place] for place in self.mirrored], 1)  # a list would have to be copied first
            moved = torch.where(turned, other, moved)
        return move(images), moved


def mirrored(mask_names: Sequence[str]) -> tuple[int, ...]:
    """Which mask takes the place of each in a mirrored image: left and right parts swap; empty when all stay.

    Names mark the sides as in CelebAMask-HQ: `l_eye` and `r_eye`.

    >>> mirrored(["skin", "l_eye", "r_eye", "neck_l"]), mirrored(["skin", "l_eye"])
    ((0, 2, 1, 3), ())
    """
    other = {"l_": "r_", "r_": "l_"}
    places = {name: place for place, name in enumerate(mask_names)}
    swapped = tuple(places.get(other.get(name[:2], "") + name[2:], place) for name, place in places.items())
    return swapped if swapped != tuple(range(len(swapped))) else ()


def check_binarise(how: str) -> None:
    """Check a way to binarise.

    Raises:
        SettingError: If it is not one of ours.
    """
    if how not in _BINARISE:
        rule = f"must be one of {', '.join(_BINARISE)}"
        raise SettingError("binarise", how, rule, "dynamic is usual for likelihoods")


def binarised(images: np.ndarray, how: str, rows: np.ndarray, *, salt: int = 0) -> np.ndarray:
    """Return uint8 images (N, H, W, C) with every pixel 0 or 255, or as they are.

    Args:
        images: uint8 images (N, H, W, C).
        how: `none`; `threshold`, at one half; else drawn, each pixel's grey value its chance of 255.
        rows: Number of each image in its split, (N,): an image's draw depends on it and the salt only.
        salt: Other draws of the same images.
    """
    if how == "none":
        return images
    if how == "threshold":
        return np.where(images >= 128, np.uint8(255), np.uint8(0))
    planes = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    bits = binary(planes, row_keys((rows % 2**32) ^ salt))
    return (bits.to(torch.uint8) * 255).permute(0, 2, 3, 1).numpy()


def row_keys(rows: np.ndarray) -> np.ndarray:
    """One key (B,) uint32 a row of the split, the same in every run."""
    return _mix(rows.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(_SALT))


def visit_keys(seed: int, index: int, count: int, mine: slice) -> np.ndarray:
    """One key (B,) uint32 an image of this process's slice of global batch `index`."""
    return (_words(count, seed, "binarise", index)[mine] >> np.uint64(32)).astype(np.uint32)


def _mix(words: np.ndarray) -> np.ndarray:
    """Wellons' lowbias32: a bijection of 32-bit words whose output bits all depend on all input bits."""
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x7FEB352D)
    words = (words ^ (words >> np.uint32(15))) * np.uint32(0x846CA68B)
    return words ^ (words >> np.uint32(16))


def binary(images: Tensor, keys: np.ndarray) -> Tensor:
    """0 or 1 with each pixel's grey value as its chance of 1: x ~ Bernoulli(v / 255).

    A pixel's draw is a hash of its image's key and its place, so it is the same on every device.

    Args:
        images: float32 of 0..255, (B, C, H, W).
        keys: uint32, (B,).
    """
    count, channels, height, width = images.shape
    device = images.device
    place = torch.arange(height * width * channels, dtype=torch.int32, device=device)
    h = on_device(keys.view(np.int32).copy(), device)[:, None] + place * -1640531527
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - (1 << 32))):
        # The shift of signed words copies the sign in, hence the mask.
        h ^= (h >> shift) & ((1 << (32 - shift)) - 1)
        h *= factor
    h ^= (h >> 16) & 0xFFFF
    uniform = ((h >> 8) & 0xFFFFFF).to(torch.float32).mul_(255 / (1 << 24))
    return (uniform.view(count, height, width, channels).permute(0, 3, 1, 2) < images).to(torch.float32)
