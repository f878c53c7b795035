"""A moving average of weights: what is saved, sampled and judged beside the raw ones."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

# Until the run is 20 half-lives old, the half-life is a twentieth of its age (Karras et al. 2020): the random
# weights of the beginning would otherwise weigh in for long.
RAMP = 0.05


# What batch norm keeps for later. It is averaged as the weights are: averaged weights want, to first order, the average
# of what went with each of them, and what went with the last alone is of weights that oscillate. A GAN's samples came
# out 6 to 13 % too bright by it. Other buffers, counters or a power iteration's vectors, have no meaningful average.
STATISTICS = ("running_mean", "running_var")


class Ema:
    """Exponential moving average of named networks, with what their batch norms keep; other buffers are copied.

    Args:
        networks: The networks of the model.
        names: Which of them are averaged.
        halflife_images: Images after which a weight's share has halved.
    """

    def __init__(self, networks: nn.ModuleDict, names: Sequence[str], halflife_images: int) -> None:
        self.live = nn.ModuleDict({name: networks[name] for name in names})
        self.shadow = copy.deepcopy(self.live).requires_grad_(False).eval()
        self.halflife_images = halflife_images
        self.pairs: list[tuple[Tensor, Tensor]] = list(zip(self.shadow.parameters(), self.live.parameters()))
        self.copied: list[tuple[Tensor, Tensor]] = []
        for (name, kept), buffer in zip(self.shadow.named_buffers(), self.live.buffers()):
            (self.pairs if name.endswith(STATISTICS) else self.copied).append((kept, buffer))

    def decay(self, images: int, batch_images: int) -> float:
        """Return the weight of the past for one update after `images` images."""
        halflife = min(self.halflife_images, images * RAMP)
        return 0.5 ** (batch_images / halflife) if halflife > 0 else 0.0

    @torch.no_grad()
    def update(self, images: int, batch_images: int) -> None:
        """Move the average towards the live weights: average += (1 - decay) (live - average)."""
        if self.pairs:
            shadow, live = (list(side) for side in zip(*self.pairs))
            torch._foreach_lerp_(shadow, live, 1 - self.decay(images, batch_images))
        for kept, buffer in self.copied:
            kept.copy_(buffer)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averaged weights into the live networks for the time of the block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averaged and live values."""
        for shadow, live in [*self.pairs, *self.copied]:
            held = shadow.clone()
            shadow.copy_(live)
            live.copy_(held)
