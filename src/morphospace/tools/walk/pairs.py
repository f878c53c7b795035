"""Choose pairs of codes, and decode the paths between them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.latent.paths import HOWS, linear
from morphospace.models.contract import seeded_noise
from morphospace.randomness import stream
from morphospace.runs.codes import (
    AT_ONCE,
    codes_of,
    conditions_of,
    decode,
    encodes,
    judged_rows,
    prior_for,
)
from morphospace.runs.condition import NO_CONDITION, Condition
from morphospace.runs.run import Run
from morphospace.tools.tool import PointName
from morphospace.tools.walk.paths import point_of


@dataclass(frozen=True)
class Pairs:
    """Pairs of codes, and where they come from.

    Attributes:
        starts: (N, D), float32 on the CPU.
        ends: (N, D).
        words: Where each pair's start and end come from.
        conditions: The conditions of the starts and of the ends, (N, K) each; None if the model is not conditional.
    """

    starts: Tensor
    ends: Tensor
    words: tuple[tuple[str, str], ...]
    conditions: tuple[Tensor, Tensor] | None = None


def frames_of(run: Run, pairs: Pairs, t: Tensor, how: str) -> Iterator[np.ndarray]:
    """Yield uint8 (N, H, W, C) at each of t (T,): the pairs' images at one time, several times decoded at once."""
    count = len(pairs.starts)
    for times in t.split(max(1, AT_ONCE // count)):
        codes = HOWS[how](pairs.starts, pairs.ends, times).transpose(0, 1).flatten(0, 1)
        conditions = None
        if pairs.conditions is not None:
            conditions = linear(*pairs.conditions, times).transpose(0, 1).flatten(0, 1)
        images = decode(run.model, codes, conditions)
        yield from images.reshape(len(times), count, *images.shape[1:])


def draw_pairs(
    run: Run,
    count: int,
    seed: int,
    *,
    images: bool | None = None,
    asked: Condition = NO_CONDITION,
) -> Pairs:
    """Choose pairs by a seed.

    Args:
        run: A loaded run.
        count: How many.
        seed: Which.
        images: Take codes of images that training did not see, no image twice, or random codes of the prior; images
            where there is an encoder when None.
        asked: The condition of a conditional model; if there is none, each image's own, or every class in turn.

    Raises:
        SettingError: If there are not so many images.
    """
    model = run.model
    conditions = asked.rows(model, 2 * count)
    if encodes(run) if images is None else images:
        split, rows, name = judged_rows(run.pack, run.configuration.data.valid, least=2 * count)
        most = f"must be from 1 to {len(rows) // 2}, as the {name} split has {len(rows)} images"
        require(1 <= count <= len(rows) // 2, "pairs", count, most, "take fewer, or choose them with --from and --to")
        numbers = np.random.default_rng(stream(seed, "pairs")).permutation(len(rows))[: 2 * count]
        taken = rows[numbers]
        own = conditions_of(model, split, taken)  # an image is encoded under its own condition, whatever is decoded
        conditions = conditions if asked else own
        pictures = np.stack([np.asarray(split.images[row]) for row in taken])
        codes, words = codes_of(run, pictures, own, rows=taken), [f"{name} image {number}" for number in numbers]
    else:
        codes = prior_for(run, "auto").from_noise(seeded_noise(2 * count, model.latent_dim, seed)).float()
        words = [f"sample {i} of seed {seed}" for i in range(2 * count)]
    both = None if conditions is None else conditions.cpu().float()
    halves = None if both is None else (both[:count], both[count:])
    return Pairs(codes[:count], codes[count:], tuple(zip(words[:count], words[count:])), halves)


def pick_pairs(run: Run, starts: Sequence[PointName], ends: Sequence[PointName], asked: Condition) -> Pairs:
    """Return the pairs that someone names, each start and end as `interpolate` takes it."""
    sides = [[point_of(run, what, asked) for what in side] for side in (starts, ends)]
    codes = [torch.stack([pick.code for pick in side]) for side in sides]
    known = [[pick.condition for pick in side if pick.condition is not None] for side in sides]
    words = tuple((first.words, last.words) for first, last in zip(*sides, strict=True))
    conditions = (torch.stack(known[0]), torch.stack(known[1])) if known[0] else None
    return Pairs(codes[0], codes[1], words, conditions)
