"""What a phase's loss sees of the engine: the clock, random numbers by purpose, and what turns of a step share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from morphospace.objectives.clock import Clock
from morphospace.randomness import stream
from morphospace.training.distributed import World

T = TypeVar("T")

Memo = dict[str, tuple[object, frozenset[nn.Module]]]
"""What the turns of one step share, by key, each with the modules that it was made by."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers that depend only on a seed and a purpose.

    Attributes:
        seed: The run's seed.
        device: Where numbers are made.
        dtype: Their type.
        world: This process among others.
    """

    seed: int
    device: torch.device
    dtype: torch.dtype
    world: World

    def at(self, clock: Clock, purpose: str, index: int) -> None:
        """Start the stream of `purpose` at a step and turn."""
        self.start(clock.step, purpose, index)

    def start(self, *purpose: int | str) -> None:
        """Start the stream of random numbers that `purpose` names."""
        seed = stream(self.seed, *purpose)
        # Not torch.manual_seed: it formats a stack trace for its lazy CUDA calls, 0.1 ms and more.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(seed)

    def draw(self, make: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        """Draw numbers for the global batch and return this process's slice: two processes equal one twice as large."""
        mine, *rest = shape
        numbers = make(mine * self.world.size, *rest, device=self.device, dtype=self.dtype)
        return numbers[self.world.rank * mine : (self.world.rank + 1) * mine]


@dataclass(slots=True)
class EngineTurn:
    """One phase's one update; see `objectives.phase.Turn` for what each member promises."""

    noise: Noise
    memo: Memo
    clock: Clock
    phase: str
    index: int
    training: bool = True

    def seed(self, purpose: str) -> None:
        """Start the stream of `purpose` at this step and turn."""
        self.noise.at(self.clock, purpose, self.index)

    def normal(self, *shape: int) -> Tensor:
        return self.noise.draw(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        return self.noise.draw(torch.rand, shape)

    def gathered(self, values: Tensor) -> Tensor:
        return torch.cat([each["values"] for each in self.noise.world.gathered({"values": values.detach()})])

    def once(self, key: str, make: Callable[[], T], by: Sequence[nn.Module]) -> T:
        slot = f"{key}/{self.index}"
        if slot not in self.memo:
            self.seed(key)
            self.memo[slot] = (make(), frozenset(by))
        self.seed(self.phase)
        return self.memo[slot][0]  # type: ignore[return-value]
