"""Phases as data: one player's turn, and how a model hands its turns to the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from torch import Tensor, nn

from morphospace.objectives.clock import Clock
from morphospace.objectives.terms import Terms

if TYPE_CHECKING:
    from morphospace.data.batches import Batch


T = TypeVar("T")


class Turn(Protocol):
    """What a loss may ask of the engine while it is computed.

    Attributes:
        clock: Where training stands.
        training: False while validating: then means are taken, nothing is sampled and no gradient exists.
    """

    clock: Clock
    training: bool

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal noise of `shape`, whose first dimension is this process's batch.

        Drawn for the global batch from the turn's own stream, of which this process takes its slice.
        """

    def uniform(self, *shape: int) -> Tensor:
        """Draw uniform noise on [0, 1), as `normal` does."""

    def once(self, key: str, make: Callable[[], T], by: Sequence[nn.Module]) -> T:
        """Make something, or return what an earlier turn of this step made under `key`.

        It is kept until a module in `by`, those that made it, is updated. It is drawn from the stream of `key`,
        and the turn's own stream starts anew on hit and on miss alike: sharing never changes what is drawn.
        """


@dataclass(frozen=True)
class Phase:
    """One player's turn.

    Attributes:
        name: "elbo", "critic", "generator": prefix of every number logged.
        learns: The modules whose parameters move in this turn; nothing else gets a gradient.
        loss: What is minimised.
        turns: Updates in a row, each on a fresh batch.
        every: Taken on every n-th step only; the engine multiplies its loss by n (lazy regularisation).
        optimizer: Phases naming the same optimizer share it; the phase's own name when None.
        lr: Learning rate, where it differs from the settings'.
        after: What follows a step: weight clipping, pushing into a replay memory.
        validates: Whether its loss also judges the held-out images.
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


Round = Phase | tuple[Phase, ...]
"""A tuple of phases is simultaneous: all gradients, then all steps."""


class Trainable(Protocol):
    """What the engine needs of a model; `models.contract.Model` with `rounds` is one."""

    settings: object
    networks: nn.ModuleDict
    memory: nn.ModuleDict
    averaged: ClassVar[tuple[str, ...]]

    def rounds(self) -> Sequence[Round]:
        """Return the players' turns of one step, in order."""
