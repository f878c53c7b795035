"""How well categories that were found without labels agree with classes."""

from __future__ import annotations

import numpy as np


def matched(categories: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether each item's category is the one that its class was matched to, bool (N,).

    Each class gets one category of its own, so that most items agree (the assignment problem). Of more categories than
    classes the rest agree with nothing, and of fewer, some classes do.

    >>> matched(np.array([1, 1, 0, 0, 0]), np.array([0, 0, 1, 1, 0])).tolist()
    [True, True, True, True, False]

    Args:
        categories: int (N,), from 0.
        labels: int (N,), from 0.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((int(categories.max(initial=0)) + 1, int(labels.max(initial=0)) + 1), np.int64)
    np.add.at(table, (categories, labels), 1)
    chosen = np.zeros(table.shape, bool)
    chosen[linear_sum_assignment(table, maximize=True)] = True
    return chosen[categories, labels]
