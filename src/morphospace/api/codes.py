"""Codes of images, by whatever encoder a run has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from morphospace.api.encoders import kept_encoder
from morphospace.api.loading import Run
from morphospace.data.augment import binarised
from morphospace.data.batches import held_out
from morphospace.data.pack import Pack, Split
from morphospace.errors import RunError
from morphospace.models.contract import Encodes, Model, seeded_noise
from morphospace.randomness import stream

__all__ = ["AT_ONCE", "as_seen", "chunks", "codes_of", "each_code", "encoder_of", "encodes", "judged_rows", "told_of"]

AT_ONCE = 256


def encoder_of(run: Run) -> Encodes:
    """Return what encodes a run's images: the model itself, or the encoder trained for it afterwards.

    Raises:
        RunError: There is neither.
    """
    if isinstance(run.model, Encodes):
        return run.model
    kept = kept_encoder(run)
    if kept is not None:
        return kept
    name = run.configuration.model.name
    raise RunError(
        f"run = {str(run.path)!r}: {name} has no encoder: use `morpho project` or train one with `morpho train-encoder`"
    )


def encodes(run: Run) -> bool:
    """Return whether a run has an encoder, its model's or one trained for it."""
    try:
        encoder_of(run)
    except RunError:
        return False
    return True


def chunks(values: Tensor, condition: Tensor | None) -> Iterator[tuple[Tensor, ...]]:
    """Split values, and conditions where there are any, for networks that take so many at once."""
    several = [values] if condition is None else [values, condition]
    return zip(*(tensor.split(AT_ONCE) for tensor in several))


def as_seen(run: Run, images: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return uint8 images (N, H, W, C) as the run's model was trained on them: of 0 and 255 only, where it binarises.

    Of a dynamic binarisation it is one draw an image, always the same, by its row in the split. Images that are
    binary already stay as they are.
    """
    return binarised(images, run.configuration.data.binarise, np.arange(len(images)) if rows is None else rows)


@torch.no_grad()
def codes_of(
    run: Run,
    images: np.ndarray,
    condition: Tensor | None = None,
    *,
    rows: np.ndarray | None = None,
    drawn: bool = False,
    seed: int = 0,
    start: int = 0,
) -> Tensor:
    """Encode uint8 images (N, H, W, C) in chunks, binarised as the model was trained on them.

    Args:
        run: A loaded run.
        images: The images.
        condition: (N, K), where the model is conditional.
        rows: (N,), their rows in the split, by which they are binarised.
        drawn: Draw each code from its posterior in place of taking its mean.
        seed: Which draws; row i depends on (seed, start + i) only.
        start: Number of the first image.

    Returns:
        float32 codes (N, D) on the CPU.
    """
    encoder, model = encoder_of(run), run.model
    noise = seeded_noise(len(images), model.latent_dim, stream(seed, "posterior"), start=start) if drawn else None
    found, first = [], 0
    for part, *told in chunks(torch.from_numpy(as_seen(run, np.array(images), rows)), condition):
        posterior = encoder.encode(model.from_uint8(part), *(c.to(model.device, model.dtype) for c in told))
        own = None if noise is None else noise[first : first + len(part)].to(posterior.mean)
        found.append((posterior.mean if own is None else posterior.sample(own)).cpu())
        first += len(part)
    return torch.cat(found).float()


def each_code(
    run: Run, split: Split, rows: np.ndarray, *, drawn: bool = False, seed: int = 0
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Encode the images of some rows of a split, a block at a time: memory is flat in their number.

    Yields:
        Codes (B, D), and the rows (B,) they belong to.
    """
    block = 4 * AT_ONCE
    for start in range(0, len(rows), block):
        taken = rows[start : start + block]
        images = np.asarray(split.images[taken])
        told = told_of(run.model, split, taken)
        yield codes_of(run, images, told, rows=taken, drawn=drawn, seed=seed, start=start), taken


def told_of(model: Model, split: Split, rows: slice | np.ndarray, pack: Pack | None = None) -> Tensor | None:
    """Return what a conditional model is told of some rows of a split; None for the others.

    The split is of the run's own data, or of a pack whose classes and attributes are taken by name.
    """
    if model.conditioning is None:
        return None
    known = model.conditioning if pack is None else model.conditioning.read_from(pack)
    told = (None if c is None else torch.from_numpy(np.array(c[rows])) for c in (split.labels, split.attributes))
    return known.vectors(*told).to(model.device, model.dtype)


def judged_rows(pack: Pack, fraction: float) -> tuple[Split, np.ndarray, str]:
    """Return images that training did not see, if there are any: split, rows and its name."""
    if "test" in pack.splits:
        return pack.split("test"), np.arange(len(pack.split("test"))), "test"
    _, valid = held_out(pack, fraction)
    if valid is None:
        return pack.split("train"), np.arange(len(pack.split("train"))), "train"
    rows = np.arange(len(valid[0])) if valid[1] is None else valid[1]
    return valid[0], rows, "held-out"
