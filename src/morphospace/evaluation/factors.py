"""Inputs of the disentanglement metrics: codes of a whole set, and the states of its generative factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morphospace.errors import require
from morphospace.latent.components import ACTIVE

STILL = 1e-5  # of the largest variance of points, a three-hundredth of its spread: a unit that does not move
# A factor keeps its values where they are so few, or each is seen so often; else it is continuous, cut into bins.
FEW, SEEN = 12, 10


@dataclass(frozen=True)
class Coded:
    """Codes of a set of images, computed once, and the factors behind them.

    Attributes:
        means: (N, D), the codes.
        states: int64 (N, F), the number of each factor's state, from 0.
        names: Of the factors, (F,).
        ordered: Whether a factor's states have an order (a size, a place), or are kinds.
        log_variances: (N, D), of the posteriors; None where codes have no uncertainty.
    """

    means: np.ndarray
    states: np.ndarray
    names: tuple[str, ...]
    ordered: tuple[bool, ...]
    log_variances: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows, factors = self.states.shape
        require(len(self.means) == rows, "means", self.means.shape, f"must have as many rows as the states, {rows}")
        why = f"must have as many names as factors, {factors}"
        require(len(self.names) == len(self.ordered) == factors, "names", self.names, why)
        require(factors >= 1, "states", self.states.shape, "must hold at least one factor that varies")

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of states of each factor."""
        return tuple(int(n) for n in self.states.max(0) + 1)

    def living(self) -> Coded:
        """Return the same without inactive units, so that no metric depends on them."""
        kept = alive(self.means, points=self.log_variances is None)
        variances = None if self.log_variances is None else self.log_variances[:, kept]
        return Coded(self.means[:, kept], self.states, self.names, self.ordered, variances)


def alive(means: np.ndarray, *, points: bool) -> np.ndarray:
    """Return which units vary, bool (D,).

    Beside a prior of variance 1 a unit is inactive if its means have a variance below 0.01 (Burda et al. 2016).
    Points have no such yardstick, and one unit may well be ten times as large as another: of them only those are
    dead whose spread is below a three-hundredth of the largest.
    """
    variance = means.astype(np.float64).var(0)
    return variance > (max(STILL * variance.max(initial=0.0), 1e-12) if points else ACTIVE)


def states_of(
    factors: np.ndarray, names: Sequence[str], *, bins: int = 10
) -> tuple[np.ndarray, tuple[str, ...], tuple[bool, ...]]:
    """Turn values of factors (N, F) into numbers of states; continuous ones are cut into bins of equal counts.

    A factor of whole numbers is taken for one of kinds, any other for one with an order. Factors that do not vary are
    left out.

    Args:
        factors: The values.
        names: Of the factors.
        bins: Into how many a continuous factor is cut.

    Returns:
        States int64 (N, F'), their names, and whether they have an order.
    """
    require(bins >= 2, "bins", bins, "must be at least 2")
    columns, kept, ordered = [], [], []
    for name, values in zip(names, factors.T.astype(np.float64)):
        distinct, numbers = np.unique(values, return_inverse=True)
        if len(distinct) < 2:
            continue
        whole = bool((distinct == np.round(distinct)).all())
        if len(distinct) > max(FEW, len(values) // SEEN):
            edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
            numbers = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]
        columns.append(numbers)
        kept.append(name)
        ordered.append(not whole)
    require(
        bool(columns), "factors", tuple(names), "none of them varies", "take data whose factors do, such as toyfaces"
    )
    return np.stack(columns, 1).astype(np.int64), tuple(kept), tuple(ordered)
