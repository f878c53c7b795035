"""Intervals of few numbers, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from morphospace.errors import SettingError
from morphospace.evaluation.intervals import mean_over, student, wilson


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(of: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, of))
    theirs = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert wilson(count, of) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    low, high = wilson(count, of)
    assert 0 <= low <= count / of <= high <= 1 and low < high


def test_student_is_scipys() -> None:
    for freedom in (*range(1, 31), 77, 200):
        assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-10)


def test_a_mean_and_its_interval_are_scipys() -> None:
    values = [0.31, 0.44, 0.38]
    mean, low, high, deviation = mean_over(values)
    theirs = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert mean == pytest.approx(np.mean(values)) and (low, high) == pytest.approx(theirs)
    assert deviation == pytest.approx(np.std(values, ddof=1))
    assert mean_over([2.0]) == (2.0, None, None, None)


def test_what_has_no_interval_is_refused() -> None:
    for count, of in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(SettingError, match="count"):
            wilson(count, of)
    with pytest.raises(SettingError, match="freedom = 0"):
        student(0)
    with pytest.raises(SettingError, match="values"):
        mean_over([])
