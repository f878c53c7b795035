"""Which samples a command asks for: their codes and conditions, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.models.contract import DecodesMasks, seeded_noise
from morphospace.pictures.sheet import near_square, sheet_size
from morphospace.runs.codes import AT_ONCE, decode, decode_masks, named_prior, prior_for
from morphospace.runs.condition import Condition
from morphospace.runs.run import Run

SAMPLES, COLUMNS = 64, 8  # if no number is given: in all, and in a row
FILES = "take fewer, or write a file each with --out DIR/, FILE.npz or FILE.zip"
BLOCK = 4 * AT_ONCE  # samples that are in memory at once; a multiple, so that networks see the same batches
MOST_PIXELS, LONGEST = 20_000_000, 16_384  # of a sheet, which programs must still open


def holding_prior(run: Run, hold: int | None, prior: str) -> str:
    """Return the prior to sample from, given how many levels are held: of several levels, each has its own in N(0, I).

    Raises:
        SettingError: If the code has not that many levels, and one more that varies; or if the prior is a fitted one.
    """
    if hold is None:
        return prior
    levels = len(run.model.levels)
    rule = f"the code of {run.model.settings.name} has one level" if levels < 2 else f"must be from 1 to {levels - 1}"
    require(hold < levels, "hold", hold, rule, "of ladder-vae, a code has several" if levels < 2 else "")
    rule = "is fitted to whole codes, and does not say how the levels below vary"
    require(prior in ("auto", "model", "normal"), "prior", prior, rule, "leave out --prior, or --hold")
    return "model"


def held(noise: Tensor, run: Run, hold: int | None, seed: int) -> Tensor:
    """Return noise (N, D) of which the upper levels are those of the seed's first sample."""
    if hold is None:
        return noise
    units = sum(run.model.levels[:hold])
    first = seeded_noise(1, noise.shape[1], seed)[:, :units]
    return torch.cat([first.expand(len(noise), -1), noise[:, units:]], 1)


@dataclass(frozen=True)
class Block:
    """Some samples in a row.

    Attributes:
        images: uint8 (B, H, W, C).
        masks: uint8 (B, H, W, 1); None for a model that decodes none.
        conditions: (B, K); None where the model takes none.
    """

    images: np.ndarray
    masks: np.ndarray | None
    conditions: Tensor | None


@dataclass(frozen=True)
class Sampling:
    """The samples that a command asks for.

    Attributes:
        run: The run.
        n: How many.
        columns: Samples of each condition, with the same codes for each; None where all are under one condition.
        rows: (R, K), the conditions then.
        condition: (1, K), the one condition; None where there are several, or the model takes none.
        seed: Which samples.
        prior: Which prior.
        truncation: How far codes lie from their mean.
        top_k: Among how many entries of a codebook each place chooses; 0 for all.
        hold: How many levels of the code, from the top, are the same in all samples: those of the first.
    """

    run: Run
    n: int
    columns: int | None
    rows: Tensor | None
    condition: Tensor | None
    seed: int
    prior: str
    truncation: float
    top_k: int = 0
    hold: int | None = None

    @classmethod
    def of(
        cls,
        run: Run,
        asked: Condition,
        *,
        n: int | None,
        seed: int,
        prior: str,
        truncation: float,
        top_k: int = 0,
        hold: int | None = None,
    ) -> Sampling:
        """Return what is asked for; without a condition, every class or mix of attributes gets a row of its own.

        Raises:
            SettingError: If the model knows no such condition, or has no such levels.
        """
        known, prior = run.model.conditioning, named_prior(run, holding_prior(run, hold, prior))
        if known is None or asked:
            condition = asked.rows(run.model)
            return cls(run, n or SAMPLES, None, None, condition, seed, prior, truncation, top_k, hold)
        rows = known.shown()
        columns = COLUMNS if n is None else math.ceil(n / len(rows))
        return cls(run, len(rows) * columns, columns, rows, None, seed, prior, truncation, top_k)

    @property
    def about(self) -> dict[str, Any]:
        """Prior, condition or those of the rows in words, and the truncation where there is one."""
        known = self.run.model.conditioning
        about: dict[str, Any] = {"prior": self.prior}
        about |= {} if self.truncation == 1 else {"truncation": self.truncation}
        about |= {"top_k": self.top_k} if self.top_k else {}
        about |= {} if self.hold is None else {"hold": self.hold}
        if known is not None and self.rows is not None:
            return about | {"rows": [known.words(row) for row in self.rows], "columns": self.columns}
        return (
            about if known is None or self.condition is None else about | {"condition": known.words(self.condition[0])}
        )

    def check_sheet(self) -> None:
        """Refuse a sheet that few programs could open.

        Raises:
            SettingError: If it has too many pixels.
        """
        height, width, _ = self.run.model.shape
        wide = 2 if isinstance(self.run.model, DecodesMasks) else 1
        columns = self.columns or near_square(self.n)
        size = sheet_size(self.n, columns, height, width * wide)
        fits = size[0] * size[1] <= MOST_PIXELS and max(size) <= LONGEST
        require(fits, "n", self.n, f"makes a sheet of {size[1]:,} x {size[0]:,} pixels", FILES)

    def blocks(self) -> Iterator[Block]:
        """Sample all, a block at a time: memory is flat in their number.

        Sample i is the same on a sheet and in a file.
        """
        model, prior = self.run.model, prior_for(self.run, self.prior, self.top_k)
        for first in range(0, self.n, BLOCK):
            numbers = range(first, min(first + BLOCK, self.n))
            if self.columns is None:
                noise = seeded_noise(len(numbers), model.latent_dim, self.seed, start=first)
                conditions = None if self.condition is None else self.condition.expand(len(numbers), -1)
            else:
                assert self.rows is not None
                each = [seeded_noise(1, model.latent_dim, self.seed, start=i % self.columns) for i in numbers]
                noise, conditions = torch.cat(each), self.rows[torch.tensor([i // self.columns for i in numbers])]
            noise = held(noise, self.run, self.hold, self.seed)
            codes = prior.from_noise(noise, self.truncation)
            yield Block(decode(model, codes, conditions), decode_masks(model, codes), conditions)

    def all(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return all samples, and their masks where the model decodes any."""
        blocks = list(self.blocks())
        masks = [block.masks for block in blocks if block.masks is not None]
        return np.concatenate([block.images for block in blocks]), np.concatenate(masks) if masks else None
