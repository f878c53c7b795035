"""Phases as data: what a model's players learn in each step, and by which loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor, nn

from morphospace.data.batches import Batch
from morphospace.objectives.clock import Clock, ramp
from morphospace.objectives.terms import Terms

T = TypeVar("T")


class Turn(Protocol):
    """What a loss sees of the engine.

    Attributes:
        clock: The current moment of training.
        training: False while validating: a loss then decodes means, and there are no gradients.
    """

    clock: Clock
    training: bool

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal noise of `shape`, whose first dimension is this process's batch.

        The turn's own stream gives noise for the global batch, of which this is the process's slice.
        """

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform noise on [0, 1), as `normal` does."""

    def gathered(self, values: Tensor) -> Tensor:
        """Return values (B, ...) of the global batch, of which this process has `values`; no gradient passes."""

    def once(self, key: str, make: Callable[[], T], by: Sequence[nn.Module]) -> T:
        """Call `make`, or return what an earlier turn of this step made under `key`.

        The result is kept until a module in `by`, those that made it, is updated. `make` gets the random stream of
        `key`, and the turn's own stream starts anew in either case: sharing never changes random numbers.
        """


def warmed(weight: float, images: int, turn: Turn) -> float | Tensor:
    """Return a weight that rises linearly from 0 over so many images; in validation it is always the full one."""
    if not (images and turn.training):
        return weight
    return turn.clock.scheduled(lambda clock: weight * ramp(clock.images, images))


@dataclass(frozen=True)
class Phase:
    """One player's turn.

    Attributes:
        name: Such as "critic" or "generator"; prefix of every number logged.
        learns: The modules whose parameters are updated; nothing else gets a gradient.
        loss: Returns the terms to minimise.
        turns: Updates in a row in one step, each on a fresh batch.
        every: Only every n-th step includes it; the engine multiplies its loss by n (lazy regularisation).
        optimizer: Phases with the same optimizer name share it; the phase's own name when None.
        lr: Learning rate, where it differs from the settings'.
        after: Called after the update: weight clipping, filling a replay memory.
        validates: Whether its loss also judges the held-out images.
        begins: How many images training must have seen before its first turn.
        ends: After how many images it has no more turns; None for never.
    """

    name: str
    learns: tuple[nn.Module, ...]
    loss: Callable[[Batch, Turn], Terms]
    turns: int = 1
    every: int = 1
    optimizer: str | None = None
    lr: float | None = None
    after: Callable[[Batch, Turn], None] | None = None
    validates: bool = False
    begins: int = 0
    ends: int | None = None

    def plays(self, clock: Clock) -> bool:
        """Return whether it has turns at this moment."""
        return clock.reached(self.begins) and (self.ends is None or not clock.reached(self.ends))


Round = Phase | tuple[Phase, ...]
"""A tuple of phases is simultaneous: all gradients, then all steps."""


class Trainable(Protocol):
    """What the engine needs of a model; `models.contract.Model` with `rounds` is one."""

    settings: object
    networks: nn.ModuleDict
    memory: nn.ModuleDict
    averaged: ClassVar[tuple[str, ...]]

    def rounds(self) -> Sequence[Round]:
        """Return the phases of one step, in order."""


def together(one: Round) -> tuple[Phase, ...]:
    """Return the phases of a round."""
    return one if isinstance(one, tuple) else (one,)


def phases_of(model: Trainable) -> list[Phase]:
    """Return the phases of a model's rounds, in order."""
    return [phase for one in model.rounds() for phase in together(one)]
