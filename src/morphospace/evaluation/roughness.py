"""How stable training was, as a number for each loss curve."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def roughness(values: Sequence[float]) -> float | None:
    """Return the spread of a curve's increments over its fall: small for a curve that comes down smoothly.

    R = sd(v_1 - v_0, ..., v_n - v_{n-1}) / |v_0 - end|, sd being the standard deviation (about the mean, n in the
    denominator) and `end` the median of the last tenth of the values, so that one last outlier does not decide.
    A straight line has 0; white noise of standard deviation s on top of it adds sqrt(2) s / fall; a curve that goes up
    and down without getting anywhere, as a GAN's losses may, has more than 1. The standard deviation, not a robust
    spread: the rare spike is just what is to be seen.

    The number depends on how long a stretch each value is the mean of: compare runs that report equally often.

    >>> roughness([5.0, 4.0, 3.0, 2.0, 1.0]), round(roughness([4.0, 0.0, 4.0, 0.0, 2.0]), 2)
    (0.0, 1.79)

    Returns:
        The ratio; None with fewer than three values, with one that is not finite, or where there is no fall.
    """
    if len(values) < 3 or not all(map(math.isfinite, values)):
        return None
    fall = abs(values[0] - statistics.median(values[-math.ceil(len(values) / 10) :]))
    increments = [after - before for before, after in itertools.pairwise(values)]
    return statistics.pstdev(increments) / fall if fall else None


def roughness_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return, by player, the roughness of its training loss in the lines of metrics.jsonl, where there is one."""
    curves: dict[str, list[float]] = {}
    for line in lines:
        for name, value in line.items():
            if name.endswith("/loss") and not name.startswith("valid/"):
                curves.setdefault(name.removesuffix("/loss"), []).append(float(value))
    found = {name: roughness(values) for name, values in curves.items()}
    return {name: value for name, value in found.items() if value is not None}
