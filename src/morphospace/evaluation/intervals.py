"""Intervals: of a share of right and wrong answers, of a mean over runs or people, and of a mean over images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from morphospace.errors import require

if TYPE_CHECKING:
    from torch import Tensor

NORMAL_95 = statistics.NormalDist().inv_cdf(0.975)


def wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, count / of, by Wilson's score.

    With p = count / of and z = 1.96: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n). Unlike
    p -+ 1.96 sd it stays within [0, 1] and has a width where every answer was right.

    >>> [round(end, 4) for end in wilson(0, 10)]
    [0.0, 0.2775]

    Raises:
        SettingError: If `count` is not from 0 to `of`, or `of` is 0.

    References:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    require(of >= 1 and 0 <= count <= of, "count", f"{count} of {of}", "must be from 0 to at least one")
    share, square = count / of, NORMAL_95**2
    middle = share + square / (2 * of)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / of + square / (4 * of**2))
    low, high = (middle - half) / (1 + square / of), (middle + half) / (1 + square / of)
    return (0.0 if count == 0 else low), (1.0 if count == of else high)  # exact ends, which rounding would miss


def student(freedom: int) -> float:
    """Return the 97.5 % point of Student's t with `freedom` degrees of freedom, by bisection of its finite series.

    With theta = atan(t / sqrt(v)), P(|T| < t) = sin(theta) (1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ...) for even v, and
    2/pi (theta + sin(theta) (cos + 2/3 cos^3 + 2*4/(3*5) cos^5 + ...)) for odd v, up to the power v - 2.

    >>> round(student(1), 3), round(student(2), 3), round(student(9), 3)
    (12.706, 4.303, 2.262)

    References:
        Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.
    """
    require(freedom >= 1, "freedom", freedom, "must be at least 1", "an interval needs two numbers")
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(theta: float, freedom: int) -> float:
    """Return P(|T| < sqrt(v) tan(theta))."""
    odd = freedom % 2
    term, total = (math.cos(theta), 0.0) if odd else (1.0, 0.0)
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= math.cos(theta) ** 2 * (power + 1) / (power + 2)
    total *= math.sin(theta)
    return (theta + total) * 2 / math.pi if odd else total


class Mean(NamedTuple):
    """The mean of several numbers.

    Attributes:
        mean: The mean.
        low: Lower end of its 95 % interval; None for a single number.
        high: Upper end.
        deviation: The numbers' standard deviation; None for a single number.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    deviation: float | None = None


def mean_over(values: Sequence[float]) -> Mean:
    """Return the mean of a few independent numbers, with its 95 % interval by Student's t.

    mean +- t sd / sqrt(n), t of n - 1 degrees of freedom. For two or three numbers 1.96, which `mean_interval` uses for
    many, would be much too small.
    """
    require(len(values) >= 1, "values", len(values), "must be at least one number")
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Mean(mean)
    deviation = statistics.stdev(values)
    half = student(len(values) - 1) * deviation / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half, deviation)


def mean_interval(values: Tensor) -> tuple[float, float | None, float | None]:
    """Return a mean over many images and its 95 % interval, mean +- 1.96 sd / sqrt(N); None for a single value.

    It uses the normal quantile: for few values, take `mean_over`, which uses Student's t.
    """
    values = values.double()
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    half = 1.96 * float(values.std()) / math.sqrt(len(values))
    return mean, mean - half, mean + half
