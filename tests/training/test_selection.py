"""Which checkpoint is the best, and when to give up: by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.training.selection import Score, Selection


def taken(selection: Selection, *values: float, margin: float = 0.0) -> list[bool]:
    return [selection.take({selection.by: Score(v, margin)}, 10 * (i + 1)) for i, v in enumerate(values)]


def test_lower_and_higher() -> None:
    assert taken(Selection("fd"), 5, 4, 4, 4.5, 3) == [True, True, False, False, True]
    assert taken(Selection("precision", lower=False), 5, 4, 6) == [True, False, True]


@given(st.lists(st.floats(-100, 100), min_size=1), st.booleans())
def test_the_best_is_the_first_of_the_extreme(values: list[float], lower: bool) -> None:
    selection = Selection("x", lower)
    flags = taken(selection, *values)
    extreme = min(values) if lower else max(values)
    assert selection.best == (extreme, 10 * (values.index(extreme) + 1))
    assert max(i for i, flag in enumerate(flags) if flag) == values.index(extreme)


def test_small_gains_add_up_against_the_reference() -> None:
    """Each step of 0.6 is within the margin of 1, but every other scoring is beyond it: patience of 2 never ends."""
    slow = Selection("fd", patience=2)
    assert all(taken(slow, *[10 - 0.6 * i for i in range(12)], margin=1.0)) and not slow.reason
    # Chance about one level, within the margin: the best moves, the reference does not.
    level = Selection("fd", patience=3)
    assert taken(level, 10, 9.5, 10.2, 9.4, margin=1.0) == [True, True, False, True]
    assert level.reference == Score(10, 1.0) and level.waited == 3
    assert level.reason == ("fd has not become better by more than 1 in 3 scorings; the best, 9.4, came at image 40")


def test_a_delta_takes_the_place_of_the_margin() -> None:
    selection = Selection("fd", patience=2, delta=0.1)
    taken(selection, 10, 9.8, 9.75, 9.72, margin=5.0)
    assert selection.reference == Score(9.8, 5.0) and selection.waited == 2 and selection.reason


def test_without_patience_there_is_no_reason() -> None:
    selection = Selection("fd")
    taken(selection, 1, 2, 2, 2, 2)
    assert selection.waited == 4 and not selection.reason


def test_what_is_no_number_is_never_best_and_wears_the_patience_out() -> None:
    selection = Selection("fd", patience=2)
    assert taken(selection, float("nan"), float("inf")) == [False, False]
    assert selection.best is None and selection.reason.endswith("in 2 scorings")


def test_a_checkpoint_without_the_number_changes_nothing() -> None:
    selection = Selection("fd", patience=1)
    assert not selection.take({"loss": Score(1.0)}, 10) and selection.waited == 0 and selection.best is None


def test_a_signals_checkpoint_changes_nothing() -> None:
    selection = Selection(patience=1)
    taken(selection, 5)
    before = selection.state()
    assert not selection.take({"loss": Score(4.0)}, 15, due=False)
    assert not selection.take({"loss": Score(6.0)}, 16, due=False)
    assert selection.state() == before


def test_it_goes_on_where_it_stood_and_anew_by_another_number() -> None:
    first = Selection("fd", patience=3, conditions="60 samples")
    taken(first, 3, 2, 2.5, margin=0.5)
    saved = json.loads(json.dumps(first.state()))
    second = Selection("fd", patience=3, conditions="60 samples")
    second.load_state(saved)
    assert second == first
    for by, conditions in (("kid", "60 samples"), ("fd", "70 samples")):
        other = Selection(by, conditions=conditions)
        taken(other, 1.0)
        other.load_state(saved)
        assert other.best is None and other.reference is None and other.waited == 0


@pytest.mark.parametrize("patience", [1, 4])
def test_patience_is_a_count_of_scorings(patience: int) -> None:
    selection = Selection("fd", patience=patience)
    taken(selection, 1, *[2] * (patience - 1))
    assert not selection.reason
    taken(selection, 2)
    assert selection.reason
