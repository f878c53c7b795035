"""What training tells those who listen. Listeners save, draw and print; training itself owns no disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from morphospace.objectives.clock import Clock
from morphospace.training.selection import Score


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
class Progressed(Event):
    """A second has gone by within a stretch; no number is read for it, so that nothing waits.

    Attributes:
        rate: Images/s since the last report.
        total_images: Where the run ends.
    """

    rate: float
    total_images: int


@dataclass(frozen=True)
class Reported(Event):
    """A stretch of training is over.

    Attributes:
        seconds: Time spent in training steps since the run began, resumed parts included.
        rate: Images/s over the stretch.
        terms: Mean of every term over the stretch, named "phase/term".
        total_images: Where the run ends.
        due: Whether it is told because it is time to, and not because a signal has ended the stretch.
    """

    seconds: float
    rate: float
    terms: Mapping[str, float]
    total_images: int
    due: bool = True


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
class Scored(Event):
    """The model was scored by metrics on the way.

    Attributes:
        scores: By name; those of the model's own weights, where averaged ones are kept beside them, end in `@raw`.
        seconds: What it took; no part of the training time.
    """

    scores: Mapping[str, Score]
    seconds: float


@dataclass(frozen=True)
class Checkpointed(Event):
    """It is time to save.

    Attributes:
        state: What to save.
        best: Whether this is the best so far, by the number that the run chooses by.
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


@runtime_checkable
class Remembers(Protocol):
    """A listener with something to remember over a resume: numbers, saved in every checkpoint under its name."""

    name: str

    def state(self) -> Mapping[str, float]: ...

    def load_state(self, state: Mapping[str, float]) -> None: ...


def remembered(listeners: Iterable[object]) -> dict[str, Mapping[str, float]]:
    """Return what listeners have to remember, by their names."""
    return {listener.name: dict(listener.state()) for listener in listeners if isinstance(listener, Remembers)}


def reminded(listeners: Iterable[object], states: object) -> None:
    """Give listeners back what they remembered; one that was not there then begins anew."""
    known = states if isinstance(states, Mapping) else {}
    for listener in listeners:
        if isinstance(listener, Remembers) and listener.name in known:
            listener.load_state(known[listener.name])
