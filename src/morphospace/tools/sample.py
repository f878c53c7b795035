"""Pictures out of a run: samples and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from morphospace.data.pack import Pack
from morphospace.errors import SettingError, require
from morphospace.models.contract import DecodesMasks, each_condition, seeded_noise
from morphospace.pictures import Pictured
from morphospace.pictures.sheet import grid, grid_of_pairs, interleave
from morphospace.runs.codes import (
    as_seen,
    codes_of,
    condition_for,
    decode,
    decode_masks,
    drawn,
    encoder_of,
    judged_rows,
    prior_for,
    told_of,
)
from morphospace.runs.run import Run, loaded

COLUMNS = 8


@dataclass(frozen=True)
class Reconstructions(Pictured):
    """Images and what the model makes of them.

    Attributes:
        originals: uint8 (N, H, W, C).
        images: uint8 (N, H, W, C), decoded from the codes' means.
        mse: Mean squared error a pixel, both in [0, 1]; of pixels within the true masks where the model learned no
            others.
        split: Which split the originals come from.
        masks: The originals' masks and what the model makes of them, each uint8 (N, H, W, 1); None for a model that
            decodes no masks.
    """

    originals: np.ndarray
    images: np.ndarray
    mse: float
    split: str
    masks: tuple[np.ndarray, np.ndarray] | None = None

    def picture(self) -> Image.Image:
        """Draw rows of originals, each over a row of what the model makes of them."""
        columns = min(len(self.images), COLUMNS if self.masks is None else COLUMNS // 2)

        def rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            white = np.full((-len(first) % columns, *first.shape[1:]), 255, np.uint8)  # fills the last row
            return interleave(np.concatenate([first, white]), np.concatenate([second, white]), columns)

        images = rows(self.originals, self.images)
        return grid(images, columns) if self.masks is None else grid_of_pairs(images, rows(*self.masks), columns)


@dataclass(frozen=True)
class SampleGrid(Pictured):
    """Samples of a conditional model, a condition a row and a code a column.

    Attributes:
        images: uint8 (R * columns, H, W, C), row by row.
        rows: What each row was asked for, in words.
        columns: Images in a row.
    """

    images: np.ndarray
    rows: tuple[str, ...]
    columns: int

    def picture(self) -> Image.Image:
        """Draw a row for each condition."""
        return grid(self.images, self.columns)


def sample_masks(
    run: Run | str | Path, n: int = 64, seed: int = 0, *, prior: str = "model", start: int = 0
) -> np.ndarray | None:
    """Draw the masks of the very images that `sample` draws of the same arguments.

    Returns:
        uint8 (n, H, W, 1), the probability of being within times 255; None for a model that decodes no masks.
    """
    run = loaded(run)
    require(n >= 1, "n", n, "must be at least 1")
    if not isinstance(run.model, DecodesMasks):
        return None
    noise = seeded_noise(n, run.model.latent_dim, seed, start=start)
    return decode_masks(run.model, prior_for(run, prior).from_noise(noise))


def sample(
    run: Run | str | Path,
    n: int = 64,
    seed: int = 0,
    *,
    prior: str = "model",
    start: int = 0,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
) -> np.ndarray:
    """Draw images from a run.

    Sample i depends on (seed, start + i) only: the same at any n. An autoencoder has no prior; one is fitted to the
    codes of its training images when it is first sampled, and kept in the run. A fitted prior may also take the place
    of the N(0, I) of a model that has an encoder: the codes of a VAE never fill N(0, I) evenly.

    Args:
        run: A loaded run or its folder.
        n: How many.
        seed: Which.
        prior: `model` for the model's own prior, `normal` for N(0, I) whatever the model, `gaussian` or `mixture` for
            one fitted to codes of training images.
        start: Number of the first sample.
        label: The class that a conditional model is asked for, by number or name; all in turn when not given.
        attributes: The attributes that a conditional model is asked for; those not named are 0.

    Returns:
        uint8 (n, H, W, C).
    """
    run = loaded(run)
    if n < 1:
        raise SettingError("n", n, "must be at least 1")
    return drawn(run, n, seed, condition_for(run.model, n, label, attributes, start), prior=prior, start=start)


def sample_grid(run: Run | str | Path, columns: int = 8, seed: int = 0, *, prior: str = "model") -> SampleGrid:
    """Draw the same codes once for every class, or every mix of the attributes, that a conditional model knows.

    Args:
        run: A loaded run or its folder.
        columns: How many codes. Column i depends on (seed, i) only.
        seed: Which codes.
        prior: As for `sample`.

    Raises:
        SettingError: The model is not conditional.
    """
    run = loaded(run)
    require(columns >= 1, "columns", columns, "must be at least 1")
    told = run.model.conditioning
    if told is None:
        name = run.model.settings.name
        raise SettingError("run", str(run.path), f"{name} takes no condition, so there is no class a row", "use sample")
    noise, condition = each_condition(run.model, columns, seed)
    images = decode(run.model, prior_for(run, prior).from_noise(noise), condition)
    return SampleGrid(images, tuple(told.words(row) for row in told.spread()), columns)


def reconstruct(run: Run | str | Path, n: int = 16, *, data: Pack | None = None) -> Reconstructions:
    """Encode held-out images and decode the means of their codes.

    Args:
        run: A loaded run or its folder.
        n: How many images: the first of the test split, else of the held-out ones.
        data: The pack to take them from, in place of the run's own.

    Raises:
        RunError: The model has no encoder, and none was trained for it.
        SettingError: There are not so many images.
    """
    run = loaded(run)
    encoder_of(run)
    split, rows, label = judged_rows(data or run.pack, run.configuration.data.valid)
    if not 1 <= n <= len(rows):
        raise SettingError("n", n, f"must be from 1 to {len(rows)}, the images in the {label} split")
    chosen = np.sort(rows[:n])
    originals = as_seen(run, np.asarray(split.images[chosen]), chosen)
    condition = told_of(run.model, split, chosen)
    codes = codes_of(run, originals, condition)
    rebuilt, masks = decode(run.model, codes, condition), decode_masks(run.model, codes)
    squares = ((originals.astype(np.float64) - rebuilt) / 255) ** 2
    if masks is None or split.masks is None:
        return Reconstructions(originals, rebuilt, float(squares.mean()), label)
    within = np.asarray(split.masks[chosen]).max(axis=-1, keepdims=True)
    mse = float(squares.mean(axis=-1, keepdims=True)[within > 0].mean())
    return Reconstructions(originals, rebuilt, mse, label, (within * np.uint8(255), masks))
