"""Signed distances to the edges of simple shapes: negative inside, in units, true to a few per cent near the edge.

Only +, -, *, /, square roots and comparisons, each rounded exactly by IEEE 754: the same everywhere.
"""

from __future__ import annotations

import numpy as np

_TINY = np.float32(1e-6)


def ellipse(u: np.ndarray, v: np.ndarray, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Distance to the ellipse of half axes a and b about the origin: (q - 1) / |gradient of q|, its first order."""
    x, y = u / a, v / b
    q = x * x
    q += y * y
    q -= 1
    x /= a
    y /= b
    np.multiply(x, x, out=x)
    np.multiply(y, y, out=y)
    x += y
    x += _TINY
    np.sqrt(x, out=x)
    x += x
    return np.divide(q, x, out=q)


def ring(u: np.ndarray, v: np.ndarray, radius: np.ndarray | float, flat: np.ndarray | float = 1.0) -> np.ndarray:
    """Distance to a circle of `radius`, squeezed in v by `flat`; signed as for a disc."""
    w = v / flat
    q = u * u
    w *= w
    q += w
    np.sqrt(q, out=q)
    q -= radius
    return q


def bar(u: np.ndarray, v: np.ndarray, half: np.ndarray | float, thick: np.ndarray | float) -> np.ndarray:
    """Distance to a bar along u with round ends, `half` long to either side and `thick` to either side of it."""
    x = np.abs(u)
    x -= half
    np.maximum(x, 0, out=x)
    x *= x
    x += v * v
    np.sqrt(x, out=x)
    x -= thick
    return x


def join(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In either."""
    return np.minimum(one, other)


def cut(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In both."""
    return np.maximum(one, other)
