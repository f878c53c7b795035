"""Decoding a few images at once while a person waits: as frames, by as many threads as that is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from morphospace.errors import SettingError, require
from morphospace.models.contract import Decodes
from morphospace.models.packed import packed, packed_bytes
from morphospace.models.towers import NearestDoubling
from morphospace.runs.run import Run, loaded

ONE_THREAD_FLOP = 2e9
"""Less work than this is one thread's, about ten milliseconds of it.

Threads meet after every layer, and where another program has taken one of their cores each meeting lasts until the
system gives it back, which may be a hundred times what the layer takes (`python -m bench decode`).
"""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def counted(networks: nn.Module) -> Iterator[list[int]]:
    """Yield a list that gathers the floating-point operations of every layer that runs inside.

    Each number of a layer's weight is multiplied once for every place of its output, or of its input where it is
    transposed. torch's own counter sees more than layers, but to import what it needs takes longer than a second, which
    a person at the explorer would wait for.
    """
    found: list[int] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        weight = layer.spread() if isinstance(layer, NearestDoubling) else layer.weight
        assert isinstance(weight, Tensor)
        transposed = isinstance(layer, _ConvTransposeNd)
        places = (given[0] if transposed else made).numel() // weight.shape[0]
        found.append(2 * weight.numel() * places)

    kinds = (nn.Linear, _ConvNd)
    hooks = [layer.register_forward_hook(note) for layer in networks.modules() if isinstance(layer, kinds)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class Decoder:
    """A run's decoder for interactive use: codes in, uint8 frames out.

    Args:
        run: A loaded run or its folder; its weights are taken as they stand.

    Attributes:
        flop: Floating-point operations of one image in its linear and convolutional layers; a multiplication and an
            addition are two.
        bytes: Memory that it takes beside the run: weights in the order that is quickest for a few images.
    """

    def __init__(self, run: Run | str | Path) -> None:
        self.run = loaded(run)
        model = self.run.model
        if not isinstance(model, Decodes):
            raise SettingError("run", str(self.run.path), f"{model.settings.name} decodes nothing", "take another run")
        known = model.conditioning
        example = (torch.zeros(1, model.latent_dim), *((known.spread(1),) if known else ()))
        with torch.no_grad(), counted(model.networks) as flop:
            model.decode(*(part.to(model.device, model.dtype) for part in example))
        self.flop = sum(flop)
        self._model = packed(model)
        self.bytes = packed_bytes(self._model)

    def threads_for(self, count: int) -> int:
        """Return how many threads decode so many images at once: one, unless the work is worth their meeting."""
        return 1 if count * self.flop < ONE_THREAD_FLOP else torch.get_num_threads()

    @torch.inference_mode()
    def frames(self, codes: Tensor | np.ndarray, condition: Tensor | np.ndarray | None = None) -> np.ndarray:
        """Decode codes (B, D), with conditions (B, K) where the model takes any; uint8 (B, H, W, C).

        Raises:
            SettingError: Codes of another shape, or a condition is missing, too many, or of another shape.
        """
        model = self._model
        assert isinstance(model, Decodes)
        parts = [torch.as_tensor(codes)]
        shape = tuple(parts[0].shape)
        wanted = (shape[0] if shape else 0, model.latent_dim)
        require(shape == wanted, "codes", shape, f"must have the shape (B, {model.latent_dim})")
        known = model.conditioning
        if condition is not None or known is not None:
            given = None if condition is None else tuple(torch.as_tensor(condition).shape)
            rule = f"must have the shape {(shape[0], known.size)}" if known else "the model takes no condition"
            require(known is not None and given == (shape[0], known.size), "condition", given, rule)
            parts.append(torch.as_tensor(condition))
        with threads(self.threads_for(len(parts[0]))):
            return model.to_uint8(model.decode(*(part.to(model.device, model.dtype) for part in parts))).numpy()
