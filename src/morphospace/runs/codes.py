"""The way to encode and decode images of a run, to sample codes, and to choose rows and conditions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from morphospace.data.augment import binarised
from morphospace.data.batches import held_out, permutation
from morphospace.data.pack import Pack, Split
from morphospace.errors import DataError, MorphospaceError, NoEncoder, RunError, SettingError, require
from morphospace.evaluation.collapse import code_facts, off_prior
from morphospace.evaluation.joint_fit import FEWEST_CODES, joint_fit
from morphospace.files import atomic, json_text, read_text, write_text
from morphospace.models.contract import Decodes, DecodesMasks, Encodes, Model, Recognises, masks_uint8, seeded_noise
from morphospace.models.distributions import Point, Posterior, Quantised, TopDownGaussian
from morphospace.models.priors import FITTED, Normal, Prior, Sampler, fit_prior
from morphospace.models.sampling import SampleOptions
from morphospace.randomness import stream
from morphospace.records import read_json, typed
from morphospace.runs.checkpoints import save_tensors
from morphospace.runs.encoder import kept_encoder
from morphospace.runs.run import Run, kept_prior
from morphospace.zoo.settings import ZOO

AT_ONCE = 256
FITTED_ON, LOOKED_AT = 10_000, 5_000
FEW = 16  # held-out images: for fewer, what only shows or places images takes those of training if it needs more


def encoder_of(run: Run) -> Encodes:
    """Return what encodes a run's images: the model itself, or the encoder trained for it afterwards.

    Raises:
        NoEncoder: There is neither.
    """
    if isinstance(run.model, Encodes):
        return run.model
    kept = kept_encoder(run)
    if kept is not None:
        return kept
    name = run.configuration.model.name
    raise NoEncoder(
        "run", str(run.path), f"{name} has no encoder: use `morpho project` or train one with `morpho train-encoder`"
    )


def encodes(run: Run) -> bool:
    """Return whether a run has an encoder, its model's or one trained for it."""
    try:
        encoder_of(run)
    except NoEncoder:
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
    dim = run.model.latent_dim
    noise = seeded_noise(len(images), dim, stream(seed, "posterior"), start=start) if drawn else None
    return _encoded(run, encoder_of(run), images, condition, rows, noise)


@torch.no_grad()
def _encoded(
    run: Run,
    encoder: Encodes,
    images: np.ndarray,
    condition: Tensor | None,
    rows: np.ndarray | None,
    noise: Tensor | None,
) -> Tensor:
    """Return the codes of images: the means of their posteriors, or samples of them by noise (N, D)."""
    each = _each_posterior(run, encoder, images, condition, rows)
    if noise is None:
        return torch.cat([posterior.mean.cpu() for posterior in each]).float()
    own = (part.to(run.model.device) for part in noise.split(AT_ONCE))
    return torch.cat([posterior.sample(part).cpu() for posterior, part in zip(each, own)]).float()


@torch.no_grad()
def _each_posterior(
    run: Run, encoder: Encodes, images: np.ndarray, condition: Tensor | None, rows: np.ndarray | None
) -> Iterator[Posterior]:
    """Encode uint8 images (N, H, W, C) in chunks, binarised as the model was trained on them."""
    model = run.model
    for part, *conditions in chunks(torch.from_numpy(as_seen(run, np.array(images), rows)), condition):
        yield encoder.encode(model.from_uint8(part), *(c.to(model.device, model.dtype) for c in conditions))


def shown_to(run: Run, images: np.ndarray, rows: np.ndarray | None) -> Iterator[Tensor]:
    """Yield uint8 images (N, H, W, C) as a run's networks see them, (B, C, H, W), so many at a time."""
    for part in torch.from_numpy(as_seen(run, np.array(images), rows)).split(AT_ONCE):
        yield run.model.from_uint8(part)


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of some images. Where a level depends on those above it, its own is given a sampled code of theirs.

    Attributes:
        means: (N, D), float32 on the CPU.
        log_variances: (N, D); None where the encoder gives points.
    """

    means: Tensor
    log_variances: Tensor | None


@torch.no_grad()
def posteriors(run: Run, split: Split, rows: np.ndarray) -> Posteriors:
    """Encode some rows of a split by the model's own encoder, or by what recognises parts of a code.

    Codes that a level is given are always the same.

    Raises:
        NoEncoder: If the model itself has neither.
    """
    model = run.model
    if isinstance(model, Recognises):
        read = [model.recognise(images) for images in shown_to(run, split.images[rows], rows)]
        sides = ([one.mean for one in read], [one.log_variance for one in read])
        return Posteriors(*(torch.cat(side).float().cpu() for side in sides))
    if not isinstance(model, Encodes):
        name = run.configuration.model.name
        rule = f"{name} has no encoder of its own, so its images have no posteriors"
        raise NoEncoder("run", str(run.path), rule, "take a run of a model that encodes, such as vae")
    means: list[Tensor] = []
    variances: list[Tensor] = []
    for first in range(0, len(rows), AT_ONCE):
        part = rows[first : first + AT_ONCE]
        for posterior in _each_posterior(run, model, split.images[part], conditions_of(model, split, part), part):
            if isinstance(posterior, Point | Quantised):
                means.append(posterior.mean.float().cpu())
                continue
            if isinstance(posterior, TopDownGaussian):
                noise = seeded_noise(len(part), posterior.dim, stream(0, "levels"), start=first)
                posterior = posterior.drawn(noise.to(model.device))[1]
            means.append(posterior.mean.float().cpu())
            variances.append(posterior.log_variance.float().cpu())
    return Posteriors(torch.cat(means), torch.cat(variances) if variances else None)


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
        conditions = conditions_of(run.model, split, taken)
        yield codes_of(run, images, conditions, rows=taken, drawn=drawn, seed=seed, start=start), taken


def conditions_of(model: Model, split: Split, rows: slice | np.ndarray, pack: Pack | None = None) -> Tensor | None:
    """Return the conditions (N, K) of some rows of a split; None where the model takes none.

    The split is of the run's own data, or of a pack whose classes and attributes are taken by name.
    """
    if model.conditioning is None:
        return None
    known = model.conditioning if pack is None else model.conditioning.read_from(pack)
    values = (None if c is None else torch.from_numpy(np.array(c[rows])) for c in (split.labels, split.attributes))
    return known.vectors(*values).to(model.device, model.dtype)


def judged_rows(pack: Pack, fraction: float, least: int = 1) -> tuple[Split, np.ndarray, str]:
    """Return images that training did not see, if there are any: split, rows and its name.

    Where there are fewer than `least`, and only a few (16) at all, they are the images of training instead: of a small
    set almost nothing is held out.
    """
    if "test" in pack.splits:
        split, rows, name = pack.split("test"), np.arange(len(pack.split("test"))), "test"
    else:
        (train, trained), valid = held_out(pack, fraction)
        if valid is None:
            return train, np.arange(len(train)), "train"
        split, rows, name = *valid, "held-out"
    if len(rows) < min(least, FEW) and "train" in pack.splits:
        (train, trained), _ = held_out(pack, fraction)
        return (train, trained, "train") if len(trained) > len(rows) else (split, rows, name)
    return split, rows, name


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


def sampled(
    run: Run,
    n: int,
    seed: int,
    condition: Tensor | None,
    *,
    prior: str = "model",
    start: int = 0,
) -> np.ndarray:
    """Sample images under conditions (n, K), one each, as `sample` does."""
    noise = seeded_noise(n, run.model.latent_dim, seed, start=start)
    return decode(run.model, prior_for(run, prior).from_noise(noise), condition)


def noise_to_codes(run: Run, options: SampleOptions, seed: int) -> Callable[[Tensor], Tensor]:
    """Return what turns standard normal noise (N, D) into codes of a run, as options say.

    Raises:
        SettingError: If there is no such prior, if the model does not understand an option, or if an option is none of
            the prior that is asked for.
    """
    sampler: Sampler = prior_for(run, sampled_prior(run, options))
    if options.special:
        sampler = run.model.narrowed(options, seeded_noise(1, run.model.latent_dim, seed)) or sampler
    return partial(sampler.from_noise, truncation=options.truncation)


def sampled_prior(run: Run, options: SampleOptions) -> str:
    """Return the kind of prior that options ask for; with an option that only some models understand, the model's own.

    Raises:
        SettingError: If the model does not understand such an option, or if another prior is asked for with it.
    """
    own, settings = ("auto", "model", *(["normal"] if isinstance(run.model.prior, Normal) else [])), run.model.settings
    for name, value in options.special.items():
        if name not in settings.sample_options:
            knowing = " or ".join(key for key, cls in ZOO.items() if name in cls.sample_options)
            raise SettingError(name, value, f"{settings.name} has no such option", f"leave it out, or sample {knowing}")
        rule = f"is not the model's own, which --{name.replace('_', '-')} is an option of"
        require(options.prior in own, "prior", options.prior, rule, f"leave out --prior or --{name.replace('_', '-')}")
    return "model" if options.special else named_prior(run, options.prior)


def usual_prior(run: Run) -> str:
    """Return which prior a run is sampled from if none is asked for: `mixture`, or `model` for its own.

    A mixture is fitted where the codes of training images do not lie as N(0, I) does: there the decoder has learned
    nothing of most codes that N(0, I) gives. The answer is kept with the checkpoint. Without the images it is `model`.
    """
    model, file = run.model, run.checkpoint / f"prior{'-raw' if run.raw else ''}.json"
    if not (isinstance(model, Encodes) and isinstance(model.prior, Normal)) or model.decodes_prior:
        return "model"
    with contextlib.suppress(OSError, ValueError, SettingError):  # broken, it is decided anew
        return typed(read_json(read_text(file)), ChosenPrior, file.name)["prior"]
    try:
        codes = codes_to_fit(run, LOOKED_AT)
    except (RunError, DataError):
        return "model"
    if len(codes) < FEWEST_CODES:
        return "model"
    drawn = seeded_noise(len(codes), model.latent_dim, stream(0, "usual prior"))
    each = code_facts(codes, None, drawn, drawn, most=FEWEST_CODES)  # how grave it is does not matter here
    off = off_prior(each) is not None or ((together := joint_fit(codes)) is not None and together.off)
    chosen: Literal["model", "mixture"] = "mixture" if off else "model"
    with contextlib.suppress(OSError, MorphospaceError):  # a run that cannot be written to is looked at each time
        write_text(file, json_text({"prior": chosen}) + "\n")
    return chosen


def named_prior(run: Run, kind: str) -> str:
    """Return a kind of prior, and for `auto` what that means for a run."""
    return usual_prior(run) if kind == "auto" else kind


class ChosenPrior(TypedDict):
    """prior.json beside a checkpoint."""

    prior: Literal["model", "mixture"]


def prior_for(run: Run, kind: str) -> Prior:
    """Return the prior to sample a run from; a fitted one is kept with the checkpoint whose codes it was fitted to.

    Args:
        run: A loaded run.
        kind: `auto` for the usual one, `model` for the model's own, `normal`, or a kind that is fitted.

    Raises:
        SettingError: No such kind, or a prior is to be fitted to the codes of a model without an encoder.
    """
    if kind not in ("auto", "model", "normal", *FITTED):
        raise SettingError("prior", kind, "must be 'auto', 'model', 'normal', 'gaussian', 'mixture' or 'flow'")
    kind = named_prior(run, kind)
    if kind == "normal":
        return Normal()
    if kind == "model" and run.model.prior is not None:
        return run.model.prior
    fitted = run.model.fits if kind == "model" else kind
    file = run.prior_file(fitted)
    if file.exists():
        prior = kept_prior(file, fitted, run.model.latent_dim)
    else:
        prior = fit_prior(fitted, codes_to_fit(run))
        with contextlib.suppress(OSError, MorphospaceError), atomic(file) as partial:  # as above
            save_tensors(partial, prior.tensors())
    if run.model.prior is None and fitted == run.model.fits:
        run.model.prior = prior
    return prior


def codes_to_fit(run: Run, most: int | None = None) -> Tensor:
    """Return codes (N, D) of at most so many training images, drawn where the encoder gives a distribution.

    Draws, not means: a unit that says nothing has means that do not vary, but the decoder knows it as N(0, 1). The
    images are spread over all that were trained on, which may be sorted by class; none is held out.

    Raises:
        SettingError: The model has no encoder.
    """
    model = run.model
    (split, trained), _ = held_out(run.pack, run.configuration.data.valid)
    if not isinstance(model, Encodes):
        name = run.configuration.model.name
        raise SettingError(
            "prior", rule=f"{name} has no encoder to fit a prior to the codes of", way_out="use 'model' or 'normal'"
        )
    chosen = choose_rows(trained, most or FITTED_ON, 0, "prior")
    noise = torch.randn(len(chosen), model.latent_dim, generator=torch.Generator().manual_seed(stream(0, "prior")))
    return _encoded(run, model, split.images[chosen], conditions_of(model, split, chosen), chosen, noise)


def choose_rows(rows: np.ndarray, n: int | None, seed: int, name: str) -> np.ndarray:
    """Choose n of the rows by the seed, in rising order; all of them if there are no more or n is None.

    Each `name` has a random stream of its own, so that two choices by one seed are independent.
    """
    if n is None or n >= len(rows):
        return rows
    return np.sort(rows[permutation(len(rows), seed, name)[:n]])
