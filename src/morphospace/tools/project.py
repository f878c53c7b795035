"""Images into a run's space: by its encoder, by optimisation, or by an encoder trained for it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out, permutation
from morphospace.errors import SettingError, require
from morphospace.latent.inverse import Fitted, GeneratorInverse, RealImages, train_inverse
from morphospace.latent.project import Keep
from morphospace.latent.project import project as search
from morphospace.models.contract import Decodes, Encodes
from morphospace.models.priors import Normal
from morphospace.randomness import stream
from morphospace.runs.codes import as_seen, codes_of, decode, told_of
from morphospace.runs.encoder import check_place, keep_encoder, kept_encoder
from morphospace.runs.pick import Shown, shown
from morphospace.runs.run import Run, loaded
from morphospace.training.precision import to_device

STARTS, STEPS = 8, 300


@dataclass(frozen=True)
class Projections:
    """Pictures, and the nearest that a run's model can do.

    Attributes:
        originals: uint8 (N, H, W, C), in the run's own shape.
        images: uint8 (N, H, W, C), decoded from the codes.
        codes: (N, D), float32 on the CPU.
        words: Where each picture comes from.
        conditions: What a conditional model was told, (N, K); None for the others.
        how: How the codes were found: `encoder`, `encoder and 100 steps`, `300 steps from 8 starts`.
    """

    originals: np.ndarray
    images: np.ndarray
    codes: Tensor
    words: tuple[str, ...]
    conditions: Tensor | None
    how: str

    @property
    def mse(self) -> np.ndarray:
        """Mean squared error a pixel of each picture, both in [0, 1], (N,)."""
        squared = (self.originals.astype(np.float64) - self.images) ** 2
        return squared.reshape(len(squared), -1).mean(1) / 255**2

    @property
    def psnr(self) -> np.ndarray:
        """Peak signal-to-noise ratio of each picture, -10 log10 MSE, in decibels, (N,); infinite where they agree."""
        with np.errstate(divide="ignore"):
            return -10 * np.log10(self.mse)

    def to_json(self) -> dict[str, Any]:
        """Return the codes as JSON holds them; `picked` reads them back."""
        conditions = None if self.conditions is None else self.conditions.tolist()
        each = {"words": list(self.words), "mse": self.mse.tolist(), "how": self.how}
        return {"codes": self.codes.tolist(), **({"conditions": conditions} if conditions else {}), **each}


def project(
    run: Run | str | Path,
    pictures: Sequence[int | str | Path] | np.ndarray,
    *,
    refine: int | None = None,
    starts: int | None = None,
    keep: Keep | None = None,
    condition: Tensor | None = None,
    seed: int = 0,
) -> Projections:
    """Find the codes of pictures: by the run's encoder where it has one, else by optimisation.

    Args:
        run: A loaded run or its folder.
        pictures: Files, which are cropped and resized by the run's own rule, numbers of held-out images, or
            `train:NUMBER`; or uint8 images (N, H, W, C) in the run's shape.
        refine: Steps of optimisation: after the encoder (0 when None), or without one (300 when None; 0 then takes
            the best of the codes drawn).
        starts: From how many codes to search; the encoder's is the first. 1 with an encoder and 8 without when None.
        keep: What keeps codes plausible, see `latent.project`; the prior's term where the model's prior is N(0, I),
            else nothing, when None.
        condition: What a conditional model is told of the pictures that do not say it themselves, (K,): files, arrays.
        seed: Of the starts. The code of picture i depends on (seed, i) and the picture only.

    Raises:
        SettingError: The model does not decode, or must be told what the pictures show.
        DataError: A file is no picture.
    """
    run = loaded(run)
    model, name = run.model, run.configuration.model.name
    require(isinstance(model, Decodes), "run", str(run.path), f"{name} does not decode, so it has no space to walk in")
    encoder = model if isinstance(model, Encodes) else kept_encoder(run)
    refine = (STEPS if encoder is None else 0) if refine is None else refine
    starts = (STARTS if encoder is None else 1) if starts is None else starts
    require(0 <= refine <= 100_000, "refine", refine, "must be from 0 to 100000 steps")
    require(1 <= starts <= 256, "starts", starts, "must be from 1 to 256")
    given = _given(run, pictures, condition)
    images, told = np.stack([one.image for one in given]), _conditions(run, given)
    begin = None if encoder is None else codes_of(run, images, told)
    if begin is not None and not refine and starts == 1:
        codes, how = begin, "encoder"
    else:
        plausible: Keep = keep or ("prior" if isinstance(model.prior, Normal) else "free")
        targets = model.from_uint8(torch.from_numpy(images))
        found = search(model, targets, told, begin=begin, starts=starts, steps=refine, keep=plausible, seed=seed)
        codes = found.codes
        how = f"{refine} steps from {starts} {'start' if starts == 1 else 'starts'}"
        how = how if begin is None else f"encoder and {how}"
    words = tuple(one.words for one in given)
    return Projections(images, decode(model, codes, told), codes, words, told, how)


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
    """Return what a conditional model is told of each picture, (N, K)."""
    if run.model.conditioning is None:
        return None
    each = [one.condition for one in given if one.condition is not None]
    untold = [one.words for one in given if one.condition is None]
    name = run.configuration.model.name
    require(not untold, "condition", None, f"{name} must be told what {', '.join(untold[:3])} shows", "give a label")
    return torch.stack(each)


def train_encoder(
    run: Run | str | Path,
    *,
    images: int = 100_000,
    minutes: float | None = None,
    real: bool = False,
    seed: int = 0,
    told: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Train an encoder for a run that has none, a GAN for instance, and keep it with the run's checkpoint.

    From then on whatever asks for codes of images works for the run: reconstruct, interpolate, components, attributes.
    An encoder that is there already is replaced.

    Args:
        run: A loaded run or its folder.
        images: How many generated images to train on.
        minutes: Stop earlier when so many have passed.
        real: Train on the run's own images too, by how well they are rebuilt.
        seed: Of what is drawn.
        told: Called now and then with images seen and loss.

    Raises:
        SettingError: The model has an encoder of its own, or does not decode.
    """
    run = loaded(run)
    name = run.configuration.model.name
    if isinstance(run.model, Encodes) or not isinstance(run.model, Decodes):
        why = "has an encoder of its own" if isinstance(run.model, Encodes) else "decodes nothing"
        raise SettingError("run", str(run.path), f"{name} {why}", "train-encoder is for generators without one")
    check_place(run)
    conditioning = run.model.conditioning
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "encoder"))
        size = 0 if conditioning is None else conditioning.size
        encoder = GeneratorInverse(run.model.shape, run.model.latent_dim, conditions=size)
    to_device(encoder, run.model.device)
    ours = _real_images(run, seed) if real else None
    fitted = train_inverse(run.model, encoder, images=images, minutes=minutes, real=ours, seed=seed, report=told)
    keep_encoder(run, encoder, fitted, {"seed": seed, "real": real})
    return fitted


def _real_images(run: Run, seed: int) -> RealImages:
    """Return what draws images that the run was trained on, in the generator's range, with their conditions."""
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    told, model = run.model.conditioning, run.model
    wanted = "needs labels or attributes that these data lack"
    require(told is None or split.labels is not None or split.attributes is not None, "real", True, wanted)
    orders: dict[int, np.ndarray] = {}

    def drawn(step: int, count: int) -> tuple[Tensor, Tensor | None]:
        each = max(1, len(rows) // count)
        epoch, at = divmod(step, each)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = permutation(len(rows), seed, "encoder", epoch)
        taken = np.sort(rows[orders[epoch][at * count : (at + 1) * count]])
        images = model.from_uint8(torch.from_numpy(as_seen(run, np.array(split.images[taken]), taken)))
        return images, told_of(model, split, taken)

    return drawn
