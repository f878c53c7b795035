"""The moving average of weights, which is saved, sampled from and judged beside the weights as trained."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

# Until the run is 20 half-lives old, the half-life is a twentieth of its age (Karras et al. 2020): otherwise the random
# initial weights would count for long.
RAMP = 0.05

# Running statistics of batch norm are averaged as the weights are. Averaged weights need, to first order, the average
# of the statistics that belong to each of them; with the last statistics alone a GAN's samples were 6 to 13 % too
# bright. Other buffers, such as counters or the vectors of a power iteration, have no meaningful average.
STATISTICS = ("running_mean", "running_var")


class Ema:
    """Exponential moving average of named networks and of their batch norms' statistics; other buffers are copied.

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
        """Put the averaged weights into the live networks during the block."""
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
