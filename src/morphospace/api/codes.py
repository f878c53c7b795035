"""Codes of images, by whatever encoder a run has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from morphospace.api.encoders import kept_encoder
from morphospace.api.loading import Run
from morphospace.data.batches import held_out
from morphospace.data.pack import Pack, Split
from morphospace.errors import RunError
from morphospace.models.contract import Encodes, Model, seeded_noise
from morphospace.randomness import stream

__all__ = ["AT_ONCE", "chunks", "codes_of", "each_code", "encoder_of", "encodes", "judged_rows", "told_of"]

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


@torch.no_grad()
def codes_of(
    run: Run, images: np.ndarray, condition: Tensor | None = None, *, drawn: bool = False, seed: int = 0, start: int = 0
) -> Tensor:
    """Encode uint8 images (N, H, W, C) in chunks.

    Args:
        run: A loaded run.
        images: The images.
        condition: (N, K), where the model is conditional.
        drawn: Draw each code from its posterior in place of taking its mean.
        seed: Which draws; row i depends on (seed, start + i) only.
        start: Number of the first image.

    Returns:
        float32 codes (N, D) on the CPU.
    """
    encoder, model = encoder_of(run), run.model
    noise = seeded_noise(len(images), model.latent_dim, stream(seed, "posterior"), start=start) if drawn else None
    found, first = [], 0
    for part, *told in chunks(torch.from_numpy(np.array(images)), condition):
        posterior = encoder.encode(model.from_uint8(part), *(c.to(model.device, model.dtype) for c in told))
        rows = slice(first, first + len(part))
        found.append((posterior.mean if noise is None else posterior.sample(noise[rows].to(posterior.mean))).cpu())
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
        yield codes_of(run, images, told_of(run.model, split, taken), drawn=drawn, seed=seed, start=start), taken


def told_of(model: Model, split: Split, rows: slice | np.ndarray) -> Tensor | None:
    """Return what a conditional model is told of some rows of a split; None for the others."""
    if model.conditioning is None:
        return None
    told = (None if c is None else torch.from_numpy(np.array(c[rows])) for c in (split.labels, split.attributes))
    return model.conditioning.vectors(*told).to(model.device, model.dtype)


def judged_rows(pack: Pack, fraction: float) -> tuple[Split, np.ndarray, str]:
    """Return images that training did not see, if there are any: split, rows and its name."""
    if "test" in pack.splits:
        return pack.split("test"), np.arange(len(pack.split("test"))), "test"
    _, valid = held_out(pack, fraction)
    if valid is None:
        return pack.split("train"), np.arange(len(pack.split("train"))), "train"
    rows = np.arange(len(valid[0])) if valid[1] is None else valid[1]
    return valid[0], rows, "held-out"
