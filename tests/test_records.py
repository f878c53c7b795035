"""One typed reading of files: what is of another type is named in one line, however deep or long it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import SettingError
from morphospace.ranges import Between
from morphospace.records import read_json, read_toml, typed


class Schema(TypedDict):
    """A key of each sort."""

    count: Annotated[int, Between(0, 9)]
    kind: NotRequired[Literal["a", "b"]]
    rows: NotRequired[list[tuple[float, float]] | None]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "it = \\[\\]: must be a table of names"),
        ({}, "it: lacks count"),
        ({"count": True}, "count = True: must be a whole number"),
        ({"count": 10}, "count = 10: must be from 0 to 9"),
        ({"count": 1, "kind": "c"}, "kind = 'c': must be one of 'a', 'b'"),
        ({"count": 1, "rows": [[1, 2], [3]]}, "rows = \\[3\\]: needs 2 values"),
        ({"count": 1, "rows": [[1, 10**400]]}, "must be below 2\\*\\*1000"),
    ],
)
def test_the_first_value_of_another_type_is_named(value: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        typed(value, Schema)


def test_what_fits_is_read_and_later_keys_stay() -> None:
    read = typed({"count": 1, "rows": [[1, 2]], "later": {}}, Schema)
    assert read == {"count": 1, "rows": [(1.0, 2.0)], "later": {}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["count", "kind", "rows"]), inner),
)


@given(JSON)
def test_any_json_is_read_or_refused_in_one_short_line(value: Any) -> None:
    said = ""
    try:
        typed(value, Schema)
    except SettingError as error:
        said = str(error)
    assert "\n" not in said and len(said) < 500


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 5000, "9" * 5000, b"\xff", ""])
def test_json_that_no_reader_takes_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_json(text)


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "a" + ".a" * 20_000 + " = 1", "x = " + "9" * 5000, "[[", "\0"])
def test_toml_that_no_reader_takes_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_toml(text)
