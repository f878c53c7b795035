"""The work of `project` and `train_encoder`: find codes, and train an encoder for a run that has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out, permutation
from morphospace.errors import SettingError, require
from morphospace.latent.inverse import GeneratorInverse, RealImages, train_inverse
from morphospace.latent.project import Keep
from morphospace.latent.project import project as search
from morphospace.models.contract import Decodes, Encodes
from morphospace.models.priors import Normal
from morphospace.randomness import stream
from morphospace.runs.codes import as_seen, codes_of, conditions_of, decode
from morphospace.runs.encoder import check_place, encoder_file, keep_encoder, kept_encoder
from morphospace.runs.pick import Shown, shown
from morphospace.runs.run import Run
from morphospace.tools.project import Projections, TrainedEncoder
from morphospace.tools.tool import at_images
from morphospace.training.precision import to_device

STARTS, STEPS = 8, 300


def found(
    run: Run,
    pictures: Sequence[int | str | Path] | np.ndarray,
    refine: int | None,
    starts: int | None,
    keep: Keep | None,
    condition: Tensor | None,
    seed: int,
) -> Projections:
    """Find the codes of pictures; `project` says how."""
    model, name = run.model, run.configuration.model.name
    rule, way_out = f"{name} does not decode, so it has no space to walk in", "take a run of a model that decodes"
    require(isinstance(model, Decodes), "run", str(run.path), rule, way_out)
    encoder = model if isinstance(model, Encodes) else kept_encoder(run)
    refine = (STEPS if encoder is None else 0) if refine is None else refine
    starts = (STARTS if encoder is None else 1) if starts is None else starts
    given = _given(run, pictures, condition)
    images, conditions = np.stack([one.image for one in given]), _conditions(run, given)
    begin = None if encoder is None else codes_of(run, images, conditions)
    if begin is not None and not refine and starts == 1:
        codes, how = begin, "encoder"
    else:
        plausible: Keep = keep or ("prior" if isinstance(model.prior, Normal) else "free")
        targets = model.from_uint8(torch.from_numpy(images))
        best = search(model, targets, conditions, begin=begin, starts=starts, steps=refine, keep=plausible, seed=seed)
        codes = best.codes
        how = f"{refine} steps from {starts} {'start' if starts == 1 else 'starts'}"
        how = how if begin is None else f"encoder and {how}"
    words = tuple(one.words for one in given)
    return Projections(images, decode(model, codes, conditions), codes, words, conditions, how)


def _given(run: Run, pictures: Sequence[int | str | Path] | np.ndarray, condition: Tensor | None) -> list[Shown]:
    """Return the pictures that are meant."""
    if isinstance(pictures, np.ndarray):
        right = pictures.dtype == np.uint8 and pictures.ndim == 4 and pictures.shape[1:] == run.model.shape
        rule = f"must be uint8 (N, {', '.join(map(str, run.model.shape))}), this run's images"
        require(right, "pictures", f"{pictures.dtype} {pictures.shape}", rule)
        given = [Shown(image, f"image {i}", condition) for i, image in enumerate(as_seen(run, pictures))]
    else:
        given = [shown(run, one, condition=condition) for one in pictures]
    require(bool(given), "pictures", list(pictures), "name one at least")
    return given


def _conditions(run: Run, given: Sequence[Shown]) -> Tensor | None:
    """Return the condition of each picture, (N, K); None for a model that takes none."""
    if run.model.conditioning is None:
        return None
    each = [one.condition for one in given if one.condition is not None]
    unknown = [one.words for one in given if one.condition is None]
    name = run.configuration.model.name
    require(not unknown, "condition", None, f"{name} needs the condition of {', '.join(unknown[:3])}", "give a label")
    return torch.stack(each)


def trained(
    run: Run,
    images: int,
    minutes: float | None,
    real: bool,
    seed: int,
    report: Callable[[int, float], None],
    say: Callable[[str], None],
) -> TrainedEncoder:
    """Train an encoder for a run and keep it; `train_encoder` says how."""
    model, name = run.model, run.configuration.model.name
    if isinstance(model, Encodes) or not isinstance(model, Decodes):
        why = "has an encoder of its own" if isinstance(model, Encodes) else "decodes nothing"
        raise SettingError("run", str(run.path), f"{name} {why}", "train-encoder is for generators without one")
    check_place(run)
    say(f"an encoder for {name}{at_images(run.images)}, the generator as it is")
    conditioning = model.conditioning
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "encoder"))
        size = 0 if conditioning is None else conditioning.size
        encoder = GeneratorInverse(model.shape, model.latent_dim, conditions=size)
    to_device(encoder, model.device)
    ours = _real_images(run, seed) if real else None
    fitted = train_inverse(model, encoder, images=images, minutes=minutes, real=ours, seed=seed, report=report)
    keep_encoder(run, encoder, fitted, {"seed": seed, "real": real})
    return TrainedEncoder(encoder_file(run), fitted.images, fitted.cosine, fitted.mse, fitted.spread)


def _real_images(run: Run, seed: int) -> RealImages:
    """Return what draws images that the run was trained on, in the generator's range, with their conditions."""
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    model, known = run.model, run.model.conditioning
    wanted = "needs labels or attributes that these data lack"
    require(known is None or split.labels is not None or split.attributes is not None, "real", True, wanted)
    orders: dict[int, np.ndarray] = {}

    def batch(step: int, count: int) -> tuple[Tensor, Tensor | None]:
        each = max(1, len(rows) // count)
        epoch, at = divmod(step, each)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = permutation(len(rows), seed, "encoder", epoch)
        taken = np.sort(rows[orders[epoch][at * count : (at + 1) * count]])
        images = model.from_uint8(torch.from_numpy(as_seen(run, np.array(split.images[taken]), taken)))
        return images, conditions_of(model, split, taken)

    return batch
