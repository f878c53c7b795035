"""Stop a training run at posterior collapse: when codes no longer carry information about the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from morphospace.training.events import Event, Reported

COLLAPSE = "posterior collapse"


class Stoppable(Protocol):
    """The engine, of which only `stop` is needed."""

    stop: str


class CollapseStop:
    """A listener that ends training when the KL stays below a threshold for several reports in a row.

    It counts the reports that the settings schedule, not those at a signal, and every checkpoint saves the count: a
    resumed run ends where an uninterrupted one does, and one that ended by collapse ends at once when it is resumed.

    Args:
        engine: The engine to stop.
        threshold: KL(q(z | x) || p(z)) in nats per image, below which codes count as collapsed.
        reports: How many reports in a row.
    """

    name = "collapse"

    def __init__(self, engine: Stoppable, threshold: float, reports: int) -> None:
        self.engine, self.threshold, self.reports = engine, threshold, reports
        self.below, self.kl = 0, 0.0

    def __call__(self, event: Event) -> None:
        """Check the KL of a report; a model that reports none never stops."""
        if isinstance(event, Reported) and event.due:
            found = [value for name, value in event.terms.items() if name.endswith("/kl")]
            if found:
                self.kl = min(found)
                self.below = self.below + 1 if self.kl < self.threshold else 0
                self.check()

    def check(self) -> None:
        """Stop the engine if the KL was below the threshold in enough reports."""
        if self.below >= self.reports and not self.engine.stop:
            self.engine.stop = (
                f"{COLLAPSE}: the KL was below {self.threshold:g} nats in {self.below} reports in a row, "
                f"{self.kl:.2g} in the last, so the codes carry no information about the images"
            )

    def state(self) -> dict[str, float]:
        """Return what a resumed run needs."""
        return {"below": self.below, "kl": self.kl}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Continue a saved run's count."""
        self.below, self.kl = int(state["below"]), float(state["kl"])
        self.check()
