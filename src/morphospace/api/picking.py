"""A point of the space as a person names it: an image by its number, a file, a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from morphospace.api.codes import codes_of, judged_rows, told_of
from morphospace.api.loading import Run
from morphospace.api.sampling import prior_for
from morphospace.data.decode import Rule, decode
from morphospace.errors import DataError, SettingError, require
from morphospace.models.contract import seeded_noise

__all__ = ["Pick", "picked", "picture_for"]


@dataclass(frozen=True)
class Pick:
    """A point of the space, and where it comes from.

    Attributes:
        code: (D,), float32 on the CPU.
        image: uint8 (H, W, C) of the image that it is the code of; None for a seed.
        words: Where it comes from: `test image 12`, `photo.jpg`, `seed 7`.
        condition: What a conditional model is told with it, (K,); None for the others.
    """

    code: Tensor
    image: np.ndarray | None
    words: str
    condition: Tensor | None = None


def picked(run: Run, what: int | str | Path, *, condition: Tensor | None = None) -> Pick:
    """Return the point of the space that someone means.

    Args:
        run: A loaded run.
        what: `12`: the image of that number among those that training did not see; `train:12`: among the training
            images; `seed:7`: a draw from the prior, that of sample 0 of `morpho sample --seed 7`; anything else is the
            path of a picture, cropped and resized by the run's own rule.
        condition: What a conditional model is told, (K,), where the image does not say it itself.

    Raises:
        SettingError: No such image, or a seed that is none.
        DataError: A file that is no picture.
        RunError: The model cannot encode.
    """
    text = str(what)
    kind, colon, number = text.partition(":")
    if kind == "seed" and colon:
        require(number.isdecimal(), "seed", text, "must be seed:NUMBER, for instance seed:7")
        noise = seeded_noise(1, run.model.latent_dim, int(number))
        return Pick(prior_for(run, "model").from_noise(noise)[0].float(), None, f"seed {number}", condition)
    if text.isdecimal() or (kind == "train" and number.isdecimal()):
        return _numbered(run, kind == "train", int(number or text), condition)
    image = picture_for(run, text)
    told = None if condition is None else condition[None]
    return Pick(codes_of(run, image[None], told)[0], image, Path(text).name, condition)


def _numbered(run: Run, train: bool, number: int, condition: Tensor | None) -> Pick:
    """Return the code of an image by its number."""
    if train:
        split, label = run.pack.split("train"), "train"
        rows = np.arange(len(split))
    else:
        split, rows, label = judged_rows(run.pack, run.configuration.data.valid)
    require(number < len(rows), "image", number, f"must be from 0 to {len(rows) - 1}, the images in the {label} split")
    taken = rows[[number]]
    image = np.asarray(split.images[taken])
    told = told_of(run.model, split, taken) if condition is None else condition[None]
    code = codes_of(run, image, told)[0]
    return Pick(code, image[0], f"{label} image {number}", None if told is None else told[0].cpu().float())


def picture_for(run: Run, path: str | Path) -> np.ndarray:
    """Read a picture as the run's own data were read: crop, resize and colours; uint8 (H, W, C).

    Raises:
        SettingError: There is no such file.
        DataError: It is no picture.
    """
    if not Path(path).is_file():
        raise SettingError(
            f"image = {str(path)!r}: no such file; give a picture, the number of an image, train:NUMBER or seed:NUMBER"
        )
    height, width, channels = run.model.shape
    rule = Rule(height, width, channels, run.configuration.data.crop)
    try:
        return decode(str(path), rule)
    except DataError as error:
        raise DataError(f"image = {str(path)!r}: {error}; give a JPEG, PNG or WebP") from None
