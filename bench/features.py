"""What features see: Frechet distances between real images and real images that were changed.

    python -m bench features --data toyfaces:10000
    python -m bench features --data celeba --size 64

The held-out images (validation and test) are divided at random into two halves. One is the reference. Of the other the
images that have an attribute are left out, or all its images are changed. For each kind of features the table shows the
distance to the reference, and how many times that of as many unchanged images it is, each a mean over five divisions.
The networks are those of `morpho evaluate`, trained on the training images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from torch import Tensor

    from morphospace.data.pack import Pack

__all__ = ["add_arguments", "main"]

KINDS = ("attributes", "autoencoder")
DROPPED = ("Smiling", "Eyeglasses")
DIVISIONS = 5
Change = Callable[[np.ndarray], np.ndarray]
Cell = tuple[float, float]
Halves = list[tuple[np.ndarray, np.ndarray]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--data", default="toyfaces:10000", help="images with attributes (default toyfaces:10000)")
    parser.add_argument("--size", default="64", help="their side in pixels (default 64)")
    parser.add_argument("--quick", action="store_true", help="few images: does it run? The numbers mean nothing")


def main(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from morphospace.data.prepare import prepare
    from morphospace.data.settings import DataSettings

    pack = prepare(DataSettings(data="toyfaces:1000" if arguments.quick else arguments.data, size=arguments.size))
    rows, half = measured(pack)
    print(f"\n{pack.name}, {half:,} held-out images a half, {arguments.size} pixels\n")
    print(f"| change to one half | {' | '.join(f'FD, {kind}' for kind in KINDS)} |")
    print(f"|---|{'---:|' * len(KINDS)}")
    for name, cells in rows.items():
        found = " | ".join(f"{value:.3g} ({value / floor:.1f} times)" for value, floor in cells)
        print(f"| {name} | {found} |")
    return 0


def measured(pack: Pack) -> tuple[dict[str, list[Cell]], int]:
    """Return a cell for each change and kind of features, and how many images a half has."""
    from morphospace.evaluation.features import extracted
    from morphospace.tools.evaluate.extractors import extractor_for

    splits = [pack.split(name) for name in ("valid", "test") if name in pack.splits]
    images = np.concatenate([np.asarray(split.images) for split in splits])
    has = np.concatenate([np.asarray(split.attributes) for split in splits]) > 0
    orders = [np.random.default_rng(seed).permutation(len(images)) for seed in range(DIVISIONS)]
    halves = [(order[: len(order) // 2], order[len(order) // 2 :]) for order in orders]
    rows: dict[str, list[Cell]] = {}
    for kind in KINDS:
        extractor = extractor_for(kind, pack, say=print)
        plain = extracted(extractor, images).features
        rows.setdefault("none", []).append(cell(plain, plain, halves, halves))
        for name in DROPPED:
            with_it = has[:, pack.attribute_names.index(name)]
            kept = [(a, b[~with_it[b]]) for a, b in halves]
            as_many = [(a, b[: len(rest)]) for (a, b), (_, rest) in zip(halves, kept, strict=True)]
            row = f"no {name} ({with_it.mean():.0%} of the images have it)"
            rows.setdefault(row, []).append(cell(plain, plain, kept, as_many))
        for name, change in changes().items():
            changed = extracted(extractor, change(images)).features
            rows.setdefault(name, []).append(cell(plain, changed, halves, halves))
    return rows, len(images) // 2


def cell(plain: Tensor, changed: Tensor, halves: Halves, unchanged: Halves) -> Cell:
    """Return the mean distance of changed images to a reference, and of unchanged ones.

    Args:
        plain: Features of all images, (N, D).
        changed: Of all images, changed.
        halves: For each division the rows of the reference, and of the other side.
        unchanged: The same, with as many images as that side has.
    """
    from morphospace.evaluation.distances import frechet_distance

    found = [frechet_distance(real=plain[a], fake=changed[b]) for a, b in halves]
    usual = [frechet_distance(real=plain[a], fake=plain[b]) for a, b in unchanged]
    return float(np.mean(found)), float(np.mean(usual))


def changes() -> dict[str, Change]:
    """Return what is done to all images of a half: uint8 (N, H, W, 3) to the same."""

    def each(change: Callable[[Image.Image], Image.Image]) -> Change:
        return lambda images: np.stack([np.asarray(change(Image.fromarray(image))) for image in images])

    def noise(images: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng(0).normal(0, 10, images.shape)
        return np.clip(np.rint(images + drawn), 0, 255).astype(np.uint8)

    return {
        "blur, standard deviation 1 pixel": each(lambda image: image.filter(ImageFilter.GaussianBlur(1))),
        "noise, standard deviation 10 of 255": noise,
        "moved to the right by 2 pixels": lambda images: np.concatenate(
            [images[:, :, :1]] * 2 + [images[:, :, :-2]], 2
        ),
        "mirrored": lambda images: images[:, :, ::-1],
    }
