"""Which checkpoint is the best by one number, and when there has been no better one for long enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOSS = "loss"
"""What is chosen by unless told otherwise: the training objective on held-out images."""


@dataclass(frozen=True)
class Score:
    """A number that a checkpoint got.

    Attributes:
        value: The number.
        margin: Half the width of its interval; 0 where it has none.
    """

    value: float
    margin: float = 0.0


@dataclass
class Selection:
    """Keeps the best score, and counts the scorings since one that was better beyond doubt.

    Two marks, because they answer two questions. The *best* is whatever was better at all: its checkpoint is kept. The
    *reference*, which patience counts from, moves only by more than `delta`: many small gains in a row thus add up
    against it, while chance alone does not move it.

    Args:
        by: Name of the number.
        lower: Whether less of it is better.
        patience: End the run after so many scorings in a row without a gain; 0 for never.
        delta: How much better counts as a gain; the reference's own margin when None.
        conditions: What else the number hangs on, in words; where a saved one hung on something else, the choice
            begins anew.

    Attributes:
        best: The best value so far, and at how many images it came.
        reference: The score that patience counts from.
        waited: Scorings since.
        former: By what a saved run chose, where the choice has begun anew.
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
        """Take note of a checkpoint's scores; return whether it is the best so far.

        Args:
            scores: By name; without the number that is chosen by, nothing is noted.
            images: Images seen.
            due: Whether the moment follows from the settings. One where a signal fell does not, and changes nothing:
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
        """How much better than the reference a score must be to count as a gain."""
        own = 0.0 if self.reference is None else self.reference.margin
        return own if self.delta is None else self.delta

    def gain(self, value: float, than: float) -> float:
        """Return how much better a value is than another."""
        return than - value if self.lower else value - than

    @property
    def reason(self) -> str:
        """Why to end the run; empty while there is no reason."""
        if not self.patience or self.waited < self.patience:
            return ""
        best = "" if self.best is None else f"; the best, {self.best[0]:.4g}, came at image {self.best[1]:,}"
        return f"{self.by} has not become better by more than {self.needed:.3g} in {self.waited} scorings{best}"

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to know, as JSON values."""
        reference = None if self.reference is None else [self.reference.value, self.reference.margin]
        best = None if self.best is None else list(self.best)
        about = {"by": self.by, "conditions": self.conditions}
        return {**about, "best": best, "reference": reference, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood; a choice by something else begins anew."""
        self.best, self.reference, self.waited = None, None, 0
        if (state["by"], state["conditions"]) != (self.by, self.conditions):
            self.former = str(state["by"])
            return
        if state["best"] is not None:
            self.best = (float(state["best"][0]), int(state["best"][1]))
        if state["reference"] is not None:
            self.reference = Score(*map(float, state["reference"]))
        self.waited = int(state["waited"])
