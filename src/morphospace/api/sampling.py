"""Pictures out of a run: samples and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.api.codes import AT_ONCE, as_seen, chunks, codes_of, encoder_of, judged_rows, told_of
from morphospace.api.loading import Run, loaded
from morphospace.api.posteriors import some_of
from morphospace.artifacts.checkpoints import load_tensors, save_tensors
from morphospace.artifacts.files import atomic
from morphospace.data.batches import held_out
from morphospace.data.pack import Pack
from morphospace.errors import SettingError, require
from morphospace.models.contract import Decodes, DecodesMasks, Encodes, Model, each_condition, masks_uint8, seeded_noise
from morphospace.models.priors import FITTED, Normal, Prior, fit_prior, prior_of
from morphospace.randomness import stream

__all__ = ["Reconstructions", "SampleGrid", "decode", "reconstruct", "sample", "sample_grid", "sample_masks"]

FITTED_ON = 10_000


@dataclass(frozen=True)
class Reconstructions:
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


@dataclass(frozen=True)
class SampleGrid:
    """Samples of a conditional model, a condition a row and a code a column.

    Attributes:
        images: uint8 (R * columns, H, W, C), row by row.
        rows: What each row was asked for, in words.
        columns: Images in a row.
    """

    images: np.ndarray
    rows: tuple[str, ...]
    columns: int


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
def decode_masks(model: Model, z: Tensor) -> np.ndarray | None:
    """Decode the masks of codes (N, D) in chunks; uint8 (N, H, W, 1), or None where the model has none."""
    if not isinstance(model, DecodesMasks):
        return None
    drawn = (masks_uint8(model.decode_mask(part.to(model.device, model.dtype))) for (part,) in chunks(z, None))
    return np.concatenate([mask.numpy() for mask in drawn])


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
        raise SettingError(f"n = {n}: must be at least 1")
    return drawn(run, n, seed, condition_for(run.model, n, label, attributes, start), prior=prior, start=start)


def drawn(run: Run, n: int, seed: int, condition: Tensor | None, *, prior: str = "model", start: int = 0) -> np.ndarray:
    """Draw images of conditions (n, K), one each, as `sample` does."""
    noise = seeded_noise(n, run.model.latent_dim, seed, start=start)
    return decode(run.model, prior_for(run, prior).from_noise(noise), condition)


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
        raise SettingError(
            f"run = {str(run.path)!r}: {name} takes no condition, so there is no class a row; use sample"
        )
    noise, condition = each_condition(run.model, columns, seed)
    images = decode(run.model, prior_for(run, prior).from_noise(noise), condition)
    return SampleGrid(images, tuple(told.words(row) for row in told.spread()), columns)


def condition_for(
    model: Model,
    n: int,
    label: int | str | None = None,
    attributes: Mapping[str, float] | None = None,
    start: int = 0,
) -> Tensor | None:
    """Return conditions (n, K) for n samples: what is asked for, or every class in turn; None where there are none.

    Sample start + i is of the same class at any n.

    Raises:
        SettingError: The model is not conditional or not on this, or both are asked for.
    """
    if label is not None and attributes is not None:
        raise SettingError(f"label = {label!r}: does not go with attributes = {attributes!r}; ask for one of them")
    if model.conditioning is None:
        for name, asked in (("label", label), ("attributes", attributes)):
            why = f"{model.settings.name} takes no condition; train a conditional model, cvae or cgan"
            require(asked is None, name, asked, why)
        return None
    if label is not None:
        return model.conditioning.label(label).expand(n, -1)
    if attributes is not None:
        return model.conditioning.attributes(attributes).expand(n, -1)
    return model.conditioning.spread(start + n)[start:]


def prior_for(run: Run, kind: str) -> Prior:
    """Return the prior to sample a run from; a fitted one is kept with the checkpoint whose codes it was fitted to.

    Raises:
        SettingError: No such kind, or a prior is to be fitted to the codes of a model without an encoder.
    """
    if kind not in ("model", "normal", *FITTED):
        raise SettingError(f"prior = {kind!r}: must be 'model', 'normal', 'gaussian' or 'mixture'")
    if kind == "normal":
        return Normal()
    if kind == "model" and run.model.prior is not None:
        return run.model.prior
    fitted = "gaussian" if kind == "model" else kind
    file = run.prior_file(fitted)
    if file.is_file():
        prior = prior_of(fitted, load_tensors(file))
    else:
        prior = fit_prior(fitted, codes_to_fit(run))
        with atomic(file) as partial:
            save_tensors(partial, prior.tensors())
    if run.model.prior is None and fitted == "gaussian":
        run.model.prior = prior
    return prior


@torch.no_grad()
def codes_to_fit(run: Run) -> Tensor:
    """Return codes (N, D) of training images, drawn where the encoder gives a distribution.

    Draws, not means: a unit that says nothing has means that do not vary, but the decoder knows it as N(0, 1). The
    images are spread over all that were trained on, which may be sorted by class; none is held out.

    Raises:
        SettingError: The model has no encoder.
    """
    model = run.model
    (split, trained), _ = held_out(run.pack, run.configuration.data.valid)
    if not isinstance(model, Encodes):
        name = run.configuration.model.name
        raise SettingError(f"prior: {name} has no encoder to fit a prior to the codes of; use 'model' or 'normal'")
    chosen = some_of(trained, FITTED_ON, 0, "prior")
    images = torch.from_numpy(as_seen(run, np.array(split.images[chosen]), chosen))
    noise = torch.randn(len(images), model.latent_dim, generator=torch.Generator().manual_seed(stream(0, "prior")))
    codes = []
    for start in range(0, len(images), AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, len(images)))
        posterior = model.encode(model.from_uint8(images[rows]), told_of(model, split, chosen[rows]))
        codes.append(posterior.sample(noise[rows].to(posterior.mean)).cpu().float())
    return torch.cat(codes)


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
        raise SettingError(f"n = {n}: must be from 1 to {len(rows)}, the images in the {label} split")
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
