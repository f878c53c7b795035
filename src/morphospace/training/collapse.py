"""Stops a run whose codes have come to say nothing: posterior collapse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from morphospace.training.events import Event, Reported

COLLAPSE = "posterior collapse"


class Stoppable(Protocol):
    """What can be asked to end: the engine."""

    stop: str


class CollapseStop:
    """A listener that ends training when the KL stays below a threshold for several reports in a row.

    It counts reports that come at fixed numbers of images, not those that a signal calls for, and its count is part of
    every checkpoint: a resumed run ends where the straight one does, and one that has ended so ends at once when it is
    taken up again. (The report after an interruption is the mean of what came after it.)

    Args:
        engine: Asked to stop.
        threshold: KL(q(z | x) || p(z)) in nats per image, below which codes count as empty.
        reports: How many reports in a row.
    """

    name = "collapse"

    def __init__(self, engine: Stoppable, threshold: float, reports: int) -> None:
        self.engine, self.threshold, self.reports = engine, threshold, reports
        self.below, self.kl = 0, 0.0

    def __call__(self, event: Event) -> None:
        """Look at the KL of a report; a model that reports none never stops."""
        if isinstance(event, Reported) and event.due:
            found = [value for name, value in event.terms.items() if name.endswith("/kl")]
            if found:
                self.kl = min(found)
                self.below = self.below + 1 if self.kl < self.threshold else 0
                self.check()

    def check(self) -> None:
        """Ask the engine to stop where the codes have been empty for long enough."""
        if self.below >= self.reports and not self.engine.stop:
            self.engine.stop = (
                f"{COLLAPSE}: the KL was below {self.threshold:g} nats in {self.below} reports in a row, "
                f"{self.kl:.2g} in the last, so the codes say nothing of the images"
            )

    def state(self) -> dict[str, float]:
        """Return what a resumed run needs to know."""
        return {"below": self.below, "kl": self.kl}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on counting where a saved run stood."""
        self.below, self.kl = int(state["below"]), float(state["kl"])
        self.check()
