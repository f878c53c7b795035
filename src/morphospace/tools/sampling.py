"""Which samples a command asks for: their codes and conditions, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.errors import require
from morphospace.models.contract import DecodesMasks, seeded_noise
from morphospace.models.sampling import SampleOptions
from morphospace.pictures.sheet import near_square, sheet_size
from morphospace.runs.codes import AT_ONCE, decode, decode_masks, noise_to_codes, sampled_prior
from morphospace.runs.condition import Condition
from morphospace.runs.run import Run

SAMPLES, COLUMNS = 64, 8  # if no number is given: in all, and in a row
FILES = "take fewer, or write a file each with --out DIR/, FILE.npz or FILE.zip"
BLOCK = 4 * AT_ONCE  # samples that are in memory at once; a multiple, so that networks see the same batches
MOST_PIXELS, LONGEST = 20_000_000, 16_384  # of a sheet, which programs must still open


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
        options: How they are sampled; the prior is never `auto`.
    """

    run: Run
    n: int
    columns: int | None
    rows: Tensor | None
    condition: Tensor | None
    seed: int
    options: SampleOptions

    @classmethod
    def of(cls, run: Run, asked: Condition, *, n: int | None, seed: int, options: SampleOptions) -> Sampling:
        """Return what is asked for; without a condition, every class or mix of attributes gets a row of its own.

        Raises:
            SettingError: If the model knows no such condition or option.
        """
        known, options = run.model.conditioning, replace(options, prior=sampled_prior(run, options))  # type: ignore[arg-type]
        if known is None or asked:
            condition = asked.rows(run.model)
            return cls(run, n or SAMPLES, None, None, condition, seed, options)
        rows = known.shown()
        columns = COLUMNS if n is None else math.ceil(n / len(rows))
        return cls(run, len(rows) * columns, columns, rows, None, seed, options)

    @property
    def about(self) -> dict[str, Any]:
        """Prior and other options that were given, and the condition or those of the rows in words."""
        known = self.run.model.conditioning
        about = self.options.given
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
        model, coded = self.run.model, noise_to_codes(self.run, self.options, self.seed)
        for first in range(0, self.n, BLOCK):
            numbers = range(first, min(first + BLOCK, self.n))
            if self.columns is None:
                noise = seeded_noise(len(numbers), model.latent_dim, self.seed, start=first)
                conditions = None if self.condition is None else self.condition.expand(len(numbers), -1)
            else:
                assert self.rows is not None
                each = [seeded_noise(1, model.latent_dim, self.seed, start=i % self.columns) for i in numbers]
                noise, conditions = torch.cat(each), self.rows[torch.tensor([i // self.columns for i in numbers])]
            codes = coded(noise)
            yield Block(decode(model, codes, conditions), decode_masks(model, codes), conditions)

    def all(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return all samples, and their masks where the model decodes any."""
        blocks = list(self.blocks())
        masks = [block.masks for block in blocks if block.masks is not None]
        return np.concatenate([block.images for block in blocks]), np.concatenate(masks) if masks else None
