"""The events of training. Listeners save, draw and print; training itself writes no files."""

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
        numbers: Step, seconds, and the conditions under which a resumed run is exact; JSON values only.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    numbers: Mapping[str, object]


@dataclass(frozen=True)
class Event:
    """Something that happened at a moment of training.

    Attributes:
        clock: The moment.
        due: Whether the moment follows from the settings, and not from a signal. What was recorded at a signal is
            forgotten when the run continues, so that it ends as if it had never been interrupted.
    """

    clock: Clock
    due: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class Resumed(Event):
    """A saved state was loaded; training continues from here."""


@dataclass(frozen=True)
class Noted(Event):
    """Something about how the run is computed, in words.

    Attributes:
        text: One line.
    """

    text: str


@dataclass(frozen=True)
class Progressed(Event):
    """A second has passed since the last event; no number is read from the device, so that nothing waits.

    Attributes:
        seconds: Training time so far.
        total_images: Length of the run.
    """

    seconds: float
    total_images: int


@dataclass(frozen=True)
class Reported(Event):
    """The means of all terms since the last report.

    Attributes:
        seconds: Time spent in training steps since the run began, resumed parts included.
        rate: Images/s since the last report.
        terms: Mean of every term since the last report, named "phase/term".
        total_images: Length of the run.
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
class Scored(Event):
    """The model was scored by metrics during training.

    Attributes:
        scores: By name. Where weights are averaged, names that end in `@raw` are scores of the weights as trained.
        seconds: Time that scoring took; not part of the training time.
    """

    scores: Mapping[str, Score]
    seconds: float


@dataclass(frozen=True)
class Checkpointed(Event):
    """It is time to save a checkpoint.

    Attributes:
        state: What to save.
        best: Whether this is the best so far, by the score that the run selects by.
    """

    state: State = field(repr=False)
    best: bool


@dataclass(frozen=True)
class Finished(Event):
    """The training run is over.

    Attributes:
        stopped: Why it ended early; empty at its natural end.
    """

    stopped: str


Listener = Callable[[Event], None]


@runtime_checkable
class KeepsState(Protocol):
    """A listener with numbers that a resumed run needs; every checkpoint saves them under the listener's name."""

    name: str

    def state(self) -> Mapping[str, float]: ...

    def load_state(self, state: Mapping[str, float]) -> None: ...


def listener_states(listeners: Iterable[object]) -> dict[str, Mapping[str, float]]:
    """Return the numbers of all listeners that keep any, by listener name."""
    return {listener.name: dict(listener.state()) for listener in listeners if isinstance(listener, KeepsState)}


def load_listener_states(listeners: Iterable[object], states: object) -> None:
    """Give listeners their saved numbers back; a listener without saved numbers begins anew."""
    known = states if isinstance(states, Mapping) else {}
    for listener in listeners:
        if isinstance(listener, KeepsState) and listener.name in known:
            listener.load_state(known[listener.name])
