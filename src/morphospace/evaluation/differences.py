"""Differences of means: paired, unpaired, of many to the best, and corrected for how many of them are looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from morphospace.errors import require
from morphospace.evaluation.intervals import NORMAL_95

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.05


class Difference(NamedTuple):
    """A difference of two means, second less first.

    Attributes:
        value: The difference.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: How often chance alone would show one as large, two-sided, if there were none.
    """

    value: float
    low: float
    high: float
    p: float


def paired(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the mean difference of numbers of the same things, such as two models' errors on the same images.

    mean(d) +- t sd(d) / sqrt(n) with d = second - first and t of n - 1 degrees of freedom. What makes an image hard
    for both models cancels, so this interval is narrower the more the numbers go together.

    Args:
        first: (N,), N >= 2.
        second: (N,), in the same order.

    Raises:
        SettingError: If there are not as many numbers, or fewer than two.
    """
    import numpy as np

    fits = len(first) == len(second) >= 2
    require(fits, "second", len(second), f"must be as many numbers as the first, {len(first)}, and at least 2")
    with np.errstate(invalid="ignore"):  # numbers that are not finite have no difference, which `_of` says
        apart = np.asarray(second, np.float64) - np.asarray(first, np.float64)
        return _of(float(apart.mean()), float(apart.std(ddof=1)) / math.sqrt(len(apart)), len(apart) - 1)


def unpaired(first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference of the means of two independent samples by Welch's test, each of two numbers or more.

    The degrees of freedom are those of Welch and Satterthwaite, (a + b)^2 / (a^2 / (n - 1) + b^2 / (m - 1)) with
    a = sd^2 / n of the first and b that of the second.

    Reference: Welch 1947, "The generalization of 'Student's' problem".
    """
    import numpy as np

    counts = [len(first), len(second)]
    require(min(counts) >= 2, "numbers", counts, "must be at least 2 of each")
    with np.errstate(invalid="ignore"):
        a, b = (float(np.asarray(side, np.float64).var(ddof=1)) / len(side) for side in (first, second))
        freedom = (a + b) ** 2 / (a**2 / (counts[0] - 1) + b**2 / (counts[1] - 1)) if a + b > 0 else math.inf
        return _of(float(np.mean(second) - np.mean(first)), math.sqrt(a + b), freedom)


def from_intervals(first: float, second: float, half_widths: tuple[float, float]) -> Difference:
    """Return the difference of two independent numbers of which only the halves of their 95 % intervals are known."""
    return _of(second - first, math.hypot(*half_widths) / NORMAL_95, math.inf)


def _of(value: float, error: float, freedom: float) -> Difference:
    """Return a difference with its standard error; infinite degrees of freedom stand for the normal distribution."""
    from scipy.special import stdtr, stdtrit

    if not math.isfinite(value) or not math.isfinite(error):
        return Difference(value, math.nan, math.nan, math.nan)
    if error == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    half = float(stdtrit(freedom, 0.975)) * error if math.isfinite(freedom) else NORMAL_95 * error
    t = -abs(value) / error
    p = 2 * float(stdtr(freedom, t)) if math.isfinite(freedom) else math.erfc(-t / math.sqrt(2))
    return Difference(value, value - half, value + half, p)


def holm(chances: Sequence[float]) -> list[float]:
    """Return p values corrected for how many there are, in their order; one that is NaN is no test and stays.

    The k-th smallest of m becomes the largest of (m - j + 1) p_j over j <= k, at most 1. If those below .05 are called
    differences, the chance that any of them is none stays below .05, however the tests depend on each other.

    >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    Reference: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = sorted((i for i, p in enumerate(chances) if not math.isnan(p)), key=lambda i: chances[i])
    corrected, largest = list(chances), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * chances[i]))
        corrected[i] = largest
    return corrected


def apart_from_best(groups: Sequence[np.ndarray], best: int, *, ratios: bool = False) -> list[float]:
    """Return for each group how often chance alone would put it so far from the best one, if all means were equal.

    Tukey's honestly significant differences, of which those to the best are returned. The variance s^2 is pooled over
    all k groups, with v = sum(n_i - 1) degrees of freedom; q_i = |m_i - m_best| / (s sqrt((1/n_i + 1/n_best) / 2)) and
    p_i = P(Q > q_i), Q the studentized range of k and v. If groups with a p below .05 are called worse, the chance that
    any of them is not stays below .05, although the numbers themselves named the best. Pooling is what lets two or
    three numbers of each of many groups tell: a test of two such groups alone has two to four degrees of freedom.

    Args:
        groups: (N,) of each, N >= 2. The p of one with a number that is not finite is NaN.
        best: The place of the best one, whose numbers are finite.
        ratios: Whether to compare logarithms: right where the spread of a number grows with it. All must be positive.

    Raises:
        SettingError: If a group has one number.

    References:
        Tukey 1953, "The problem of multiple comparisons"; Kramer 1956 for groups of different sizes.
    """
    import numpy as np
    from scipy.stats import studentized_range

    counts = [len(group) for group in groups]
    require(min(counts) >= 2, "numbers", counts, "must be at least 2 of each")
    found = [math.nan] * len(groups)
    there = {i: np.asarray(group, np.float64) for i, group in enumerate(groups) if np.isfinite(group).all()}
    values = {i: np.log(group) if ratios else group for i, group in there.items()}
    freedom = sum(len(group) - 1 for group in values.values())
    variance = sum(float(group.var()) * len(group) for group in values.values()) / freedom
    for i, group in values.items():
        apart = abs(float(group.mean() - values[best].mean()))
        error = math.sqrt(variance * (1 / counts[i] + 1 / counts[best]) / 2)
        if apart == 0 or error == 0:
            found[i] = 1.0 if apart == 0 else 0.0
        else:
            found[i] = float(studentized_range.sf(apart / error, len(values), freedom))
    return found
