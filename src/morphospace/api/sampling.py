"""Pictures out of a run: samples and reconstructions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.api.loading import Run, loaded
from morphospace.artifacts.checkpoints import save_tensors
from morphospace.artifacts.files import atomic
from morphospace.data.batches import held_out
from morphospace.data.pack import Pack, Split
from morphospace.errors import SettingError
from morphospace.models.contract import Decodes, Encodes, FittedGaussian, Model, Normal, Prior, seeded_noise

__all__ = ["Reconstructions", "decode", "encode_means", "reconstruct", "sample"]

AT_ONCE = 256
FITTED_ON = 10_000


@dataclass(frozen=True)
class Reconstructions:
    """Images and what the model makes of them.

    Attributes:
        originals: uint8 (N, H, W, C).
        images: uint8 (N, H, W, C), decoded from the codes' means.
        mse: Mean squared error a pixel, both in [0, 1].
        split: Which split the originals come from.
    """

    originals: np.ndarray
    images: np.ndarray
    mse: float
    split: str


@torch.no_grad()
def decode(model: Model, z: Tensor, condition: Tensor | None = None) -> np.ndarray:
    """Decode codes (N, D) in chunks, with conditions (N, K) where the model takes any; uint8 (N, H, W, C)."""
    assert isinstance(model, Decodes)
    drawn = (
        model.to_uint8(model.decode(*(part.to(model.device, model.dtype) for part in parts))).numpy()
        for parts in chunks(z, condition)
    )
    return np.concatenate(list(drawn))


@torch.no_grad()
def encode_means(model: Model, images: np.ndarray, condition: Tensor | None = None) -> Tensor:
    """Encode uint8 images (N, H, W, C) in chunks; the means of their codes (N, D)."""
    assert isinstance(model, Encodes)
    means = []
    for part, *told in chunks(torch.from_numpy(np.array(images)), condition):
        means.append(model.encode(model.from_uint8(part), *(c.to(model.device, model.dtype) for c in told)).mean.cpu())
    return torch.cat(means)


def chunks(values: Tensor, condition: Tensor | None) -> Iterator[tuple[Tensor, ...]]:
    """Split values, and conditions where there are any, for networks that take so many at once."""
    several = [values] if condition is None else [values, condition]
    return zip(*(tensor.split(AT_ONCE) for tensor in several))


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
    codes of its training images when it is first sampled, and kept in the run.

    Args:
        run: A loaded run or its folder.
        n: How many.
        seed: Which.
        prior: `model` for the model's own prior, `normal` for N(0, I) whatever the model.
        start: Number of the first sample.
        label: The class that a conditional model is asked for, by number or name; all in turn when not given.
        attributes: The attributes that a conditional model is asked for; those not named are 0.

    Returns:
        uint8 (n, H, W, C).
    """
    run = loaded(run)
    if n < 1:
        raise SettingError(f"n = {n}: must be at least 1")
    if prior not in ("model", "normal"):
        raise SettingError(f"prior = {prior!r}: must be 'model' or 'normal'")
    chosen: Prior = Normal() if prior == "normal" else run.model.prior or _fit_prior(run)
    noise = seeded_noise(n, run.model.latent_dim, seed, start=start)
    return decode(run.model, chosen.from_noise(noise), condition_for(run.model, n, label, attributes))


def condition_for(
    model: Model, n: int, label: int | str | None = None, attributes: Mapping[str, float] | None = None
) -> Tensor | None:
    """Return conditions (n, K) for n samples: what is asked for, or every class in turn; None where there are none.

    Raises:
        SettingError: The model is not conditional, or not on this.
    """
    asked = label if label is not None else attributes
    if model.conditioning is None:
        if asked is not None:
            name = model.settings.name
            raise SettingError(f"label, attributes = {asked!r}: {name} takes no condition; train a conditional model")
        return None
    if label is not None:
        return model.conditioning.label(label).expand(n, -1)
    if attributes:
        return model.conditioning.attributes(attributes).expand(n, -1)
    return model.conditioning.spread(n)


def _fit_prior(run: Run) -> Prior:
    """Fit a Gaussian to the codes of training images and keep it with the run."""
    images = run.pack.split("train").images[:FITTED_ON]
    prior = FittedGaussian.fit(encode_means(run.model, images))
    with atomic(run.prior_file) as partial:
        save_tensors(partial, {"mean": prior.mean, "factor": prior.factor})
    run.model.prior = prior
    return prior


def reconstruct(run: Run | str | Path, n: int = 16, *, data: Pack | None = None) -> Reconstructions:
    """Encode held-out images and decode the means of their codes.

    Args:
        run: A loaded run or its folder.
        n: How many images: the first of the test split, else of the held-out ones.
        data: The pack to take them from, in place of the run's own.

    Raises:
        SettingError: The model has no encoder, or there are not so many images.
    """
    run = loaded(run)
    name = run.configuration.model.name
    if not (isinstance(run.model, Encodes) and isinstance(run.model, Decodes)):
        raise SettingError(
            f"run = {str(run.path)!r}: {name} has no encoder, so there is nothing to reconstruct; use `morpho sample`"
        )
    split, rows, label = _judged_rows(data or run.pack, run.configuration.data.valid)
    if not 1 <= n <= len(rows):
        raise SettingError(f"n = {n}: must be from 1 to {len(rows)}, the images in the {label} split")
    chosen = np.sort(rows[:n])
    originals, condition = np.asarray(split.images[chosen]), None
    if run.model.conditioning is not None:
        told = (
            None if column is None else torch.from_numpy(column[chosen]) for column in (split.labels, split.attributes)
        )
        condition = run.model.conditioning.vectors(*told)
    rebuilt = decode(run.model, encode_means(run.model, originals, condition), condition)
    mse = float(((originals.astype(np.float64) - rebuilt) ** 2).mean() / 255**2)
    return Reconstructions(originals, rebuilt, mse, label)


def _judged_rows(pack: Pack, fraction: float) -> tuple[Split, np.ndarray, str]:
    """Return images that training did not see, if there are any: split, rows and its name."""
    if "test" in pack.splits:
        return pack.split("test"), np.arange(len(pack.split("test"))), "test"
    _, valid = held_out(pack, fraction)
    if valid is None:
        return pack.split("train"), np.arange(len(pack.split("train"))), "train"
    rows = np.arange(len(valid[0])) if valid[1] is None else valid[1]
    return valid[0], rows, "held-out"
