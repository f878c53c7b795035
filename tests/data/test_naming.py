"""Which class a name or a number means, and in which order classes are shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.data.naming import class_number, display_order
from morphospace.errors import SettingError


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
@settings(max_examples=50, deadline=None)
def test_numbers_sorted_as_texts_are_shown_as_people_count(numbers: list[int]) -> None:
    names = sorted(f"shot {number}" for number in numbers)
    assert [names[i] for i in display_order(names)] == [f"shot {number}" for number in sorted(numbers)]


def test_an_order_of_the_datas_own_stays() -> None:
    names = ("T-shirt/top", "Trouser", "Pullover", "Bag 10", "Bag 2")
    assert display_order(names) == [0, 1, 2, 3, 4]
    assert display_order([str(i) for i in range(12)]) == list(range(12))


def test_a_name_is_meant_before_a_number() -> None:
    names = ("1", "10", "11", "12", "2", "3")
    assert class_number("10", names) == 1 and class_number(2, names) == 4 and class_number(" 3 ", names) == 5
    assert class_number("2", ("cat", "dog", "owl")) == 2 and class_number("dog", ("cat", "dog", "owl")) == 1
    for number in ("0", "4", 5, "-1"):
        with pytest.raises(SettingError, match="no such class; give one of 1, 2, 3, 10, 11, 12"):
            class_number(number, names)


@pytest.mark.parametrize(
    ("wanted", "names", "rule"),
    [
        ("12", tuple("0123456789"), "no such class; give a number from 0 to 9"),
        ("3", ("cat", "dog", "owl"), "no such class; give a number from 0 to 2, or a name"),
        ("dgo", ("cat", "dog", "owl"), r"no such class \(did you mean 'dog'\?\); give a name, or a number from 0 to 2"),
    ],
)
def test_what_is_no_class_is_refused(wanted: str, names: tuple[str, ...], rule: str) -> None:
    with pytest.raises(SettingError, match=rule):
        class_number(wanted, names)
