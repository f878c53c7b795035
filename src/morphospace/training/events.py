"""What training tells those who listen. Listeners save, draw and print; training itself owns no disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from morphospace.objectives.clock import Clock

__all__ = ["State", "Event", "Resumed", "Reported", "Validated", "Checkpointed", "Finished", "Listener"]


@dataclass(frozen=True)
class State:
    """All that exact resume needs.

    Attributes:
        tensors: By file (`model`, `ema`, `optimizer`, `memory`), then by name.
        numbers: Step, seconds and what the exactness hangs on; JSON values only.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    numbers: Mapping[str, object]


@dataclass(frozen=True)
class Event:
    """Something happened at a moment of training."""

    clock: Clock


@dataclass(frozen=True)
class Resumed(Event):
    """A saved state was loaded; training goes on from here."""


@dataclass(frozen=True)
class Reported(Event):
    """A stretch of training is over.

    Attributes:
        seconds: Time spent in training steps since the run began, resumed parts included.
        rate: Images/s over the stretch.
        terms: Mean of every term over the stretch, named "phase/term".
        total_images: Where the run ends.
    """

    seconds: float
    rate: float
    terms: Mapping[str, float]
    total_images: int


@dataclass(frozen=True)
class Validated(Event):
    """The held-out images were judged.

    Attributes:
        terms: Mean of every term, named "phase/term".
        loss: Their weighted sum, the training objective.
    """

    terms: Mapping[str, float]
    loss: float


@dataclass(frozen=True)
class Checkpointed(Event):
    """It is time to save.

    Attributes:
        state: What to save.
        best: Whether this is the best validation loss so far.
    """

    state: State = field(repr=False)
    best: bool


@dataclass(frozen=True)
class Finished(Event):
    """The run is over.

    Attributes:
        stopped: Why it ended early; empty at its natural end.
    """

    stopped: str


Listener = Callable[[Event], None]
