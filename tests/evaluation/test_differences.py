"""Differences of means and Holm's correction, against closed forms, scipy and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from morphospace.errors import SettingError
from morphospace.evaluation.differences import apart_from_best, from_intervals, holm, paired, unpaired


def test_the_paired_interval_is_that_of_the_differences_and_much_narrower_than_the_unpaired_one() -> None:
    """d has mean 3 and standard deviation sqrt(2.5), whatever the images have in common."""
    common = np.array([100.0, -250.0, 40.0, 900.0, -3.0])
    first, second = common, common + np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451 * math.sqrt(2.5 / 5)
    found, wide = paired(first, second), unpaired(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half), rel=1e-7)
    assert found.p == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert wide.value == pytest.approx(3) and wide.high - wide.low > 100 * (found.high - found.low)


def test_unpaired_is_welchs_test() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 12), rng.normal(0.7, 5, 5)
    found, theirs = unpaired(first, second), stats.ttest_ind(second, first, equal_var=False)
    ends = theirs.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx((theirs.pvalue, ends.low, ends.high))


def test_paired_intervals_hold_the_true_difference_in_95_of_100_cases() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        common = rng.normal(0, 10, 30)
        found = paired(common + rng.normal(0, 1, 30), common + rng.normal(0.5, 1, 30))
        hits += found.low <= 0.5 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.012)


def test_two_intervals_are_subtracted_as_independent() -> None:
    found = from_intervals(5.0, 8.0, (1.96, 2 * 1.96))
    assert (found.value, (found.high - found.low) / 2) == pytest.approx((3, 1.96 * math.sqrt(5)), rel=1e-4)
    assert found.p == pytest.approx(2 * stats.norm.sf(3 / math.sqrt(5)), rel=1e-4)


def test_what_does_not_vary() -> None:
    same = np.ones(4)
    assert paired(same, same) == (0, 0, 0, 1) and paired(same, same + 2) == (2, 2, 2, 0)
    assert math.isnan(paired(same, np.array([1, 2, math.inf, 0])).p)
    with pytest.raises(SettingError, match="as many numbers as the first, 4"):
        paired(same, np.ones(3))


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_stepwise_rule_rejects(chances: list[float]) -> None:
    corrected = holm(chances)
    rejected: set[int] = set()
    for rank, i in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        if chances[i] * (len(chances) - rank) >= 0.05:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(corrected) if p < 0.05} == rejected
    assert all(p <= q <= 1 for p, q in zip(chances, corrected))
    assert all(math.isnan(p) for p in holm([math.nan])) and holm([0.03, math.nan])[0] == 0.03


def test_under_holm_true_nulls_are_seldom_called_differences() -> None:
    rng, false = np.random.default_rng(2), 0
    for _ in range(1000):
        false += min(holm(list(rng.uniform(size=10)))) < 0.05
    assert false / 1000 == pytest.approx(0.05, abs=0.02)


def test_apart_from_best_is_tukeys_test_of_the_pairs_with_the_best() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(shift, 1, size=n) for shift, n in ((3.0, 4), (0.0, 3), (1.0, 4), (8.0, 5))]
    expected = list(stats.tukey_hsd(*groups).pvalue[1])
    assert apart_from_best(groups, 1) == pytest.approx(expected, abs=1e-6) and expected[0] < 0.2
    powers = [np.exp(group) for group in groups]
    assert apart_from_best(powers, 1, ratios=True) == pytest.approx(expected, abs=1e-6)


def test_many_models_with_two_seeds_each_are_told_apart_where_pairs_are_not() -> None:
    rng = np.random.default_rng(1)
    groups = [np.exp(rng.normal(math.log(10 * 1.3**i), 0.05, size=2)) for i in range(12)]
    found = apart_from_best(groups, 0, ratios=True)
    pairs = holm([unpaired(groups[i], groups[j]).p for i in range(12) for j in range(i)])
    assert all(p < 0.05 for p in found[1:]) and sum(p < 0.05 for p in pairs) < len(pairs) / 2
    assert max(apart_from_best(groups, 0)[1:4]) > 0.05  # the spread of the large ones hides the small ones


def test_one_of_equal_models_is_seldom_called_beaten() -> None:
    rng, false = np.random.default_rng(3), 0
    for _ in range(300):
        groups = rng.normal(size=(5, 3))
        false += min(apart_from_best(list(groups), int(groups.mean(1).argmin()))) < 0.05
    assert false / 300 == pytest.approx(0.05, abs=0.035)


def test_apart_from_best_of_what_does_not_vary_or_is_no_number() -> None:
    one, two = np.ones(2), 2 * np.ones(2)
    assert apart_from_best([two, one, one], 1) == [0.0, 1.0, 1.0]
    found = apart_from_best([np.array([1.0, 1.1]), np.array([1.0, math.nan]), np.array([5.0, 5.1])], 0)
    assert found[0] == 1.0 and math.isnan(found[1]) and found[2] < 0.05
    with pytest.raises(SettingError, match="at least 2 of each"):
        apart_from_best([np.ones(2), np.ones(1)], 0)
