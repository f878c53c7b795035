"""Find components of codes, of a generator's first activations, or of its first layer's weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import held_out
from morphospace.errors import RunError, SettingError
from morphospace.latent.components import Components, FirstLayer, Moments, factorised, regressed
from morphospace.models.contract import Decodes, seeded_noise
from morphospace.randomness import stream
from morphospace.runs.codes import each_code, encoder_of, encodes
from morphospace.runs.run import Run

BLOCK = 256


def rows_to_encode(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose so many of the rows by the seed, in rising order; all of them if there are no more.

    Unlike `choose_rows` it uses torch's random stream, on which the numbers of published directions depend.
    """
    if count >= len(rows):
        return np.sort(rows)
    generator = torch.Generator().manual_seed(stream(seed, "rows"))
    return np.sort(rows[torch.randperm(len(rows), generator=generator)[:count].numpy()])


def components_with_moments(
    run: Run, images: int, space: str, seed: int, condition: Tensor | None
) -> tuple[Components, Moments | None, int]:
    """Return components, the moments of the codes (None for the other spaces), and from how many codes they are.

    Activations are computed under one condition (1, K). Over all conditions, the leading components would separate the
    classes, which no code can do.
    """
    if space == "auto":
        space = "codes" if encodes(run) else "activations"
    if space == "codes":
        moments = code_moments(run, images, seed)
        return moments.components(), moments, moments.count
    layer = _first_layer(run, condition)
    if space == "weights":
        return factorised(layer.weight), None, 0
    width = layer.activations(*_random_codes(run, condition, 1, seed)).shape[1]
    count = min(run.model.latent_dim, width, images)
    parts = max(1, images // max(BLOCK, count))
    ends = [round(images * i / parts) for i in range(parts + 1)]

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for start, end in pairwise(ends):
            z, conditions = _random_codes(run, condition, end - start, seed, start)
            yield z, layer.activations(z, conditions)

    return regressed(pairs, count), None, images


def _random_codes(
    run: Run, condition: Tensor | None, count: int, seed: int, start: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Return codes from N(0, I) as the model takes them, each with the same condition (1, K)."""
    model = run.model
    z = seeded_noise(count, model.latent_dim, seed, start=start).to(model.device, model.dtype)
    return z, None if condition is None else condition.to(z).expand(count, -1)


def _first_layer(run: Run, condition: Tensor | None) -> FirstLayer:
    """Return the layer that takes the code itself."""
    model = run.model
    assert isinstance(model, Decodes)
    z, conditions = _random_codes(run, condition, 2, 0)
    layer = FirstLayer(model.networks, model.decode, z, conditions, model.given_to_networks(z))
    if not layer.found:
        raise SettingError(
            "space",
            rule=f"{model.settings.name} here has no linear layer or convolution that takes the code itself",
            way_out="take --space codes where there is an encoder",
        )
    return layer


def code_moments(run: Run, images: int, seed: int = 0) -> Moments:
    """Return the moments of the posterior means of some training images.

    Raises:
        RunError: If there is no encoder.
    """
    try:
        encoder_of(run)
    except RunError as error:
        raise RunError(rule=f"{error}; or take --space activations or weights") from None
    (split, rows), _ = held_out(run.pack, run.configuration.data.valid)
    blocks = (codes for codes, _ in each_code(run, split, rows_to_encode(rows, images, seed)))
    return Moments.of(blocks, run.model.latent_dim)
