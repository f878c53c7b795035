"""The images that both sides train on, made once a run in a folder, by a process of its own.

grey-28.npy     uint8 (N, 28, 28, 1): MNIST, or digit-like blobs
grey-64.npy     the same, resized by PIL as the published loader resizes them at every step
colour-64.npy   uint8 (N, 64, 64, 3): CelebA, or smooth random fields with a little noise
files-64/       the same as PNG files, which lose nothing
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from morphospace.data.prepare import data_list, prepare
from morphospace.data.settings import DataSettings

__all__ = ["make_images"]

# (images, images with --quick): MNIST's training split, and as many faces as are quickly written as files.
GREY, COLOUR = (60_000, 8_192), (8_000, 1_024)
MADE_AT_ONCE = 1024
SEED = 20_131_220


def make_images(folder: Path, inputs: Sequence[str], quick: bool) -> dict[str, str]:
    """Write the images that the inputs name, and those they are made from.

    Args:
        folder: Where to; it exists.
        inputs: Some of `grey-28`, `grey-64`, `colour-64`, `files-64`.
        quick: Fewer of them.

    Returns:
        What they are, in words, by `grey` and `colour`.
    """
    said = {}
    if any(name.startswith("grey") for name in inputs):
        images = real_images("mnist", None, folder, GREY[quick])
        said["grey"] = f"{GREY[quick]:,} synthetic blobs, 28x28"
        if images is None:
            images = fields(GREY[quick], size=28, channels=1, coarse=7)
        else:
            said["grey"] = f"MNIST, {len(images):,} images, 28x28"
        np.save(folder / "grey-28.npy", images)
        if "grey-64" in inputs:
            np.save(folder / "grey-64.npy", resized(images, 64))
    if not set(inputs).isdisjoint({"colour-64", "files-64"}):
        images = real_images("celeba", "64", folder, COLOUR[quick])
        said["colour"] = f"{COLOUR[quick]:,} synthetic colour fields, 64x64"
        if images is None:
            images = fields(COLOUR[quick], size=64, channels=3, coarse=9)
        else:
            said["colour"] = f"CelebA, {len(images):,} images, 64x64"
        np.save(folder / "colour-64.npy", images)
        if "files-64" in inputs:
            write_files(images, folder / "files-64")
    return said


def real_images(source: str, size: str | None, folder: Path, most: int) -> np.ndarray | None:
    """Return up to `most` training images of a source under MORPHOSPACE_DATA, None where it is not there."""
    if not os.environ.get("MORPHOSPACE_DATA"):
        return None
    if not any(info.name == source and info.here for info in data_list()):
        return None
    pack = prepare(DataSettings(data=source, size=size), out=folder / f"{source}-pack")
    return np.ascontiguousarray(pack.split("train").images[:most])


def fields(count: int, *, size: int, channels: int, coarse: int) -> np.ndarray:
    """Draw smooth random images (count, size, size, channels), the same ones in every run.

    A coarse grid of noise is interpolated linearly; one channel is stretched until most of it is black or white,
    like a digit, three are left soft and get a little noise, like a photograph.
    """
    generator = np.random.default_rng(SEED)
    at = np.linspace(0, coarse - 1, size, dtype=np.float32)
    # Row i holds the two weights with which pixel i mixes its coarse neighbours.
    mix = np.clip(1 - np.abs(at[:, None] - np.arange(coarse, dtype=np.float32)), 0, 1)
    images = np.empty((count, size, size, channels), np.uint8)
    for first in range(0, count, MADE_AT_ONCE):
        part = images[first : first + MADE_AT_ONCE]
        noise = generator.standard_normal((len(part), coarse, coarse, channels), dtype=np.float32)
        smooth = np.einsum("ia,jb,nabc->nijc", mix, mix, noise, optimize=True)
        if channels == 1:
            values = 400 * (smooth - 0.4)
        else:
            values = 128 + 70 * smooth + 3 * generator.standard_normal(part.shape, dtype=np.float32)
        part[:] = np.clip(values, 0, 255)
    return images


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Resize grey images (N, H, W, 1) bilinearly with PIL, as the published loader does."""
    result = np.empty((len(images), size, size, 1), np.uint8)
    for row, image in zip(result, images):
        row[..., 0] = np.asarray(Image.fromarray(image[..., 0]).resize((size, size), Image.Resampling.BILINEAR))
    return result


def write_files(images: np.ndarray, folder: Path) -> None:
    """Write images as PNG files under zero-padded five-digit names."""
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:05d}.png")
