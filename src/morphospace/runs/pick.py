"""A point of the space as a person names it: an image by its number, a file, a seed, a code kept in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.data.decode import decode
from morphospace.errors import DataError, SettingError, one_line, require
from morphospace.files import read_bytes
from morphospace.models.contract import seeded_noise
from morphospace.records import is_count, read_json, typed
from morphospace.runs.codes import as_seen, codes_of, conditions_of, judged_rows, prior_for
from morphospace.runs.codes import decode as decode_codes
from morphospace.runs.condition import NO_CONDITION, Condition
from morphospace.runs.run import Run


@dataclass(frozen=True)
class Pick:
    """A point of the space, and where it comes from.

    Attributes:
        code: (D,), float32 on the CPU.
        image: uint8 (H, W, C) of the image that it is the code of; None for a seed.
        words: Where it comes from: `test image 12`, `photo.jpg`, `seed 7`.
        condition: The condition (K,) of a conditional model; None for the others.
    """

    code: Tensor
    image: np.ndarray | None
    words: str
    condition: Tensor | None = None


@dataclass(frozen=True)
class Shown:
    """A picture that someone names.

    Attributes:
        image: uint8 (H, W, C), in the run's own shape.
        words: Where it comes from: `test image 12`, `photo.jpg`.
        condition: The condition (K,) of a conditional model; None for the others, and where it is not known.
    """

    image: np.ndarray
    words: str
    condition: Tensor | None = None


class Codes(TypedDict):
    """A file of codes, (N, D), with conditions (N, K) where the model takes any."""

    codes: list[list[float]]
    conditions: NotRequired[list[list[float]] | None]


def picked(run: Run, what: int | str | Path, *, condition: Tensor | None = None) -> Pick:
    """Return the point of the space that someone means.

    Args:
        run: A loaded run.
        what: `12`: the image of that number among those that training did not see; `train:12`: in the training
            split; `seed:7`: a draw from the prior, that of sample 0 of `morpho sample --seed 7`; `code.json`: the
            first code in a file that `morpho project --code` wrote, and `code.json#3` the fourth; anything else is
            the path of a picture, cropped and resized by the run's own rule.
        condition: The condition (K,) to decode under, in place of the image's own. The image is encoded under its own
            condition, where that is known.

    Raises:
        SettingError: No such image, or a seed that is none.
        DataError: A file that is no picture.
        RunError: The model cannot encode.
    """
    text = str(what)
    kind, colon, number = text.partition(":")
    if kind == "seed" and colon:
        require(is_count(number), "seed", text, "must be seed:NUMBER, for instance seed:7")
        noise = seeded_noise(1, run.model.latent_dim, int(number))
        return Pick(prior_for(run, "auto").from_noise(noise)[0].float(), None, f"seed {number}", condition)
    if Path(text.partition("#")[0]).suffix.lower() == ".json":
        return _kept(run, text, condition)
    found = shown(run, text, condition=condition)
    own = None if found.condition is None else found.condition[None]
    code = codes_of(run, found.image[None], own)[0]
    return Pick(code, found.image, found.words, found.condition if condition is None else condition)


def shown(run: Run, what: int | str | Path, *, condition: Tensor | None = None) -> Shown:
    """Return the picture that someone means: `12`, `train:12` or a file, as for `picked`, without encoding it.

    A numbered image has a condition of its own; the one given is for a file.

    Raises:
        SettingError: No such image.
        DataError: A file that is no picture.
    """
    kind, _, number = str(what).partition(":")
    if not (is_count(str(what)) or (kind == "train" and is_count(number))):
        image = picture_for(run, str(what))
        return Shown(as_seen(run, image[None])[0], Path(str(what)).name, condition)
    if kind == "train":
        (split, trained), _ = held_out(run.pack, run.configuration.data.valid)
        rows, label = np.arange(len(split)), "train"
    else:
        split, rows, label = judged_rows(run.pack, run.configuration.data.valid, least=int(kind) + 1)
        rows = np.arange(len(split)) if label == "train" else rows
    index = int(number or kind)
    rule = f"must be from 0 to {len(rows) - 1}, the images in the {label} split"
    require(index < len(rows), "image", index, rule, "" if label == "train" else "train:NUMBER is a training image")
    taken = rows[[index]]
    own = conditions_of(run.model, split, taken)
    condition = None if own is None else own[0].cpu().float()
    words = f"{label} image {index}"
    words += ", held out" if kind == "train" and index not in trained else ""
    return Shown(as_seen(run, np.asarray(split.images[taken]), taken)[0], words, condition)


def _kept(run: Run, text: str, condition: Tensor | None) -> Pick:
    """Return a code out of a JSON file with `codes`, and `conditions` where the model takes any."""
    name, _, number = text.partition("#")
    require(Path(name).is_file(), "code", name, "no such file", "`morpho project --code` writes one")
    require(not number or is_count(number), "code", text, "must be FILE.json, or FILE.json#NUMBER")
    try:
        held = typed(read_json(read_bytes(name, links=True)), Codes, "codes")
    except (OSError, ValueError) as error:
        raise DataError(
            "code", name, f"holds no codes ({one_line(error)})", "`morpho project --code` writes such a file"
        ) from None
    codes, conditions = held["codes"], held.get("conditions")
    index, count = int(number or 0), len(codes)
    require(index < count, "code", text, f"must be from {name}#0 to {name}#{count - 1}")
    require(not conditions or len(conditions) == count, "code", text, "must hold as many conditions as codes")
    code = torch.tensor(codes[index])
    own = torch.tensor(conditions[index]) if conditions else None
    dim, size = run.model.latent_dim, 0 if run.model.conditioning is None else run.model.conditioning.size
    rule, way_out = f"has {len(code)} numbers, the codes of this run have {dim}", "take one of the same run"
    require(len(code) == dim and all(map(math.isfinite, code.tolist())), "code", text, rule, way_out)
    condition = own if condition is None else condition
    rule = f"has a condition, and this run takes {size} numbers"
    require(condition is None or len(condition) == size, "code", text, rule, way_out)
    return Pick(code, None, Path(name).name + (f"#{number}" if number else ""), condition)


def picture_for(run: Run, path: str | Path) -> np.ndarray:
    """Read a picture as the run's own data were read: crop, resize and colours; uint8 (H, W, C).

    Raises:
        SettingError: There is no such file.
        DataError: It is no picture.
    """
    if not Path(path).is_file():
        raise SettingError(
            "image", str(path), "no such file", "give a picture, the number of an image, train:NUMBER or seed:NUMBER"
        )
    try:
        return decode(str(path), run.rule)
    except DataError as error:
        raise DataError("image", str(path), error, "give a JPEG, PNG or WebP") from None


def condition_with_words(run: Run, asked: Condition) -> tuple[Tensor | None, str]:
    """Return the condition of a conditional model, (1, K) and in words; its first if none is asked for."""
    condition, known = asked.rows(run.model), run.model.conditioning
    return condition, "" if known is None or condition is None else known.words(condition[0])


def decoded(run: Run, codes: Tensor, condition: Tensor | None) -> np.ndarray:
    """Decode codes (N, D) under one condition (1, K)."""
    return decode_codes(run.model, codes.float(), None if condition is None else condition.expand(len(codes), -1))


def start_of(
    run: Run, image: int | str | Path, asked: Condition = NO_CONDITION
) -> tuple[Tensor, Tensor | None, str, str]:
    """Return a code that someone names: code (D,), condition (1, K), where the code comes from, the condition in words.

    The condition is the one asked for, else that of the image where it is known, else the model's first.
    """
    condition, words = condition_with_words(run, asked)
    pick = picked(run, image, condition=asked.row(run.model))
    if pick.condition is not None and run.model.conditioning is not None:
        condition, words = pick.condition[None], run.model.conditioning.words(pick.condition)
    return pick.code, condition, pick.words, words
