"""One phase's one update, as its loss sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from morphospace.objectives.clock import Clock

if TYPE_CHECKING:
    from morphospace.training.engine import Engine


T = TypeVar("T")


class EngineTurn:
    """One phase's one update; see `objectives.phase.Turn` for what each member promises."""

    def __init__(self, engine: Engine, clock: Clock, phase: str, index: int, training: bool) -> None:
        self.engine, self.clock, self.phase, self.index, self.training = engine, clock, phase, index, training

    def seed(self, purpose: str) -> None:
        self.engine.seed(self.clock.step, purpose, self.index)

    def draw(self, make: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        world = self.engine.world
        mine, *rest = shape
        # Drawn for all processes, of which this one keeps its slice: two of them equal one at twice the batch.
        drawn = make(mine * world.size, *rest, device=self.engine.device, dtype=self.engine.dtype)
        return drawn[world.rank * mine : (world.rank + 1) * mine]

    def normal(self, *shape: int) -> Tensor:
        return self.draw(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        return self.draw(torch.rand, shape)

    def once(self, key: str, make: Callable[[], T], by: Sequence[nn.Module]) -> T:
        made = self.engine.memo
        slot = f"{key}/{self.index}"
        if slot not in made:
            self.seed(key)
            made[slot] = (make(), frozenset(by))
        self.seed(self.phase)
        return made[slot][0]  # type: ignore[return-value]
