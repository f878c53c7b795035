"""The replay memory: generated images that a GAN keeps for its critic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ReplayMemory(nn.Module):
    """Some of the images generated so far, so that the critic does not forget them (Shrivastava et al. 2017).

    It has buffers only. Each process has one; it is saved and resumed with the run, and never exported.

    Args:
        capacity: Images it holds.
        shape: (H, W, C) of each.
    """

    images: Tensor
    count: Tensor

    def __init__(self, capacity: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(capacity, shape[2], *shape[:2]))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ReplayMemory:
        """Move the images; how many there are is read in each step, and stays where no device must be waited for."""
        count = self.count
        super()._apply(fn, recurse)
        self.count = count
        return self

    def mix(self, fakes: Tensor, share: float, uniform: Tensor) -> Tensor:
        """Return fakes (B, ...) with the first `share` of them replaced by stored ones, chosen by `uniform` (B,)."""
        held, wanted = int(self.count), round(share * len(fakes))
        if not held or not wanted:
            return fakes
        chosen = (uniform[:wanted] * held).long().to(self.images.device)
        return torch.cat([self.images[chosen].to(fakes), fakes[wanted:]])

    @torch.no_grad()
    def push(self, fakes: Tensor, uniform: Tensor) -> None:
        """Store fakes (K, ...) in free places first, then over old ones chosen by `uniform` (K,).

        One place is chosen in each K-th part of the memory, so that no two fakes get the same place.
        """
        self.images = self.images.to(fakes.device)  # training moves the networks to their device, not the memory
        capacity, count = len(self.images), int(self.count)
        fakes = fakes[: (capacity - count) or capacity]  # the last free places are filled before any is used again
        each = torch.arange(len(fakes), device=fakes.device)
        if count < capacity:
            places = count + each
        else:
            places = ((each + uniform[: len(fakes)]) * (capacity / len(fakes))).long().clamp(max=capacity - 1)
        self.images[places] = fakes.to(self.images.dtype)
        self.count.fill_(min(capacity, count + len(fakes)))
