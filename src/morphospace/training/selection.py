"""Which checkpoint is the best by one score, and when a run stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOSS = "loss"
"""The default score: the training objective on held-out images."""


@dataclass(frozen=True)
class Score:
    """A checkpoint's score.

    Attributes:
        value: The score.
        margin: Half the width of its interval; 0 where it has none.
    """

    value: float
    margin: float = 0.0


@dataclass
class Selection:
    """Keeps the best score, and counts the scorings since the last clear improvement.

    The *best* score is any improvement: its checkpoint is kept. The *reference* score, which patience counts from,
    changes only when a score beats it by more than `delta`. Several small improvements can add up to one; random
    fluctuation below `delta` does not reset the count.

    Args:
        by: Name of the score.
        lower: Whether a lower score is better.
        patience: End the run after so many scorings in a row without a clear improvement; 0 for never.
        delta: How much better is a clear improvement; the reference's own margin when None.
        conditions: What else the score depends on, in words; a saved selection under other conditions is dropped.

    Attributes:
        best: The best value so far, and after how many images it came.
        reference: The score that patience counts from.
        waited: Scorings since the reference.
        former: Name of the score that a saved run selected by, where its selection was dropped.
    """

    by: str = LOSS
    lower: bool = True
    patience: int = 0
    delta: float | None = None
    conditions: str = ""
    best: tuple[float, int] | None = field(default=None, init=False)
    reference: Score | None = field(default=None, init=False)
    waited: int = field(default=0, init=False)
    former: str = field(default="", init=False)

    def take(self, scores: Mapping[str, Score], images: int, *, due: bool = True) -> bool:
        """Record a checkpoint's scores; return whether it is the best so far.

        Args:
            scores: By name; nothing changes if the score `by` is not among them.
            images: Images seen.
            due: Whether the moment follows from the settings. A checkpoint that a signal asked for changes nothing:
                interrupted or not, a run has the same best and ends at the same image.
        """
        score = scores.get(self.by)
        if score is None or not due:
            return False
        finite = math.isfinite(score.value)
        if finite and (self.reference is None or self.gain(score.value, self.reference.value) > self.needed):
            self.reference, self.waited = score, 0
        else:
            self.waited += 1
        better = finite and (self.best is None or self.gain(score.value, self.best[0]) > 0)
        if better:
            self.best = (score.value, images)
        return better

    @property
    def needed(self) -> float:
        """How much better than the reference a clear improvement must be."""
        own = 0.0 if self.reference is None else self.reference.margin
        return own if self.delta is None else self.delta

    def gain(self, value: float, than: float) -> float:
        """Return how much better a value is than another."""
        return than - value if self.lower else value - than

    @property
    def reason(self) -> str:
        """Why to end the run; empty while it should continue."""
        if not self.patience or self.waited < self.patience:
            return ""
        best = "" if self.best is None else f"; the best, {self.best[0]:.4g}, came at image {self.best[1]:,}"
        return f"{self.by} has not become better by more than {self.needed:.3g} in {self.waited} scorings{best}"

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON values."""
        reference = None if self.reference is None else [self.reference.value, self.reference.margin]
        best = None if self.best is None else list(self.best)
        about = {"by": self.by, "conditions": self.conditions}
        return {**about, "best": best, "reference": reference, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue a saved selection; one by another score or under other conditions is dropped."""
        self.best, self.reference, self.waited = None, None, 0
        if (state["by"], state["conditions"]) != (self.by, self.conditions):
            self.former = str(state["by"])
            return
        if state["best"] is not None:
            self.best = (float(state["best"][0]), int(state["best"][1]))
        if state["reference"] is not None:
            self.reference = Score(*map(float, state["reference"]))
        self.waited = int(state["waited"])


def saved_selection(numbers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's selection; older checkpoints hold only the best loss, as `best`."""
    if selection := numbers.get("selection"):
        return selection
    best = numbers.get("best")
    known, reference = (None, None) if best is None else ([best, numbers["images"]], [best, 0.0])
    return {"by": LOSS, "conditions": "", "best": known, "reference": reference, "waited": 0}
