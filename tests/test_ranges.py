"""Ranges in types: what they allow, and what an error says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from morphospace.errors import SettingError
from morphospace.ranges import OFF, Above, AtLeast, Below, Between, Inside, Range, check_ranges, checked, marks_of

if TYPE_CHECKING:
    from morphospace.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Base:
    """Settings of every kind of type."""

    turns: Annotated[int, Between(1, 1000)] = 1
    weight: Annotated[float, Below(0, 1e6, OFF)] = 0.0
    betas: tuple[Annotated[float, Below(0, 1)], Annotated[float, Below(0, 1)]] = (0.9, 0.999)
    widths: tuple[Annotated[int, AtLeast(1)], ...] = ()
    lr: Annotated[float, Above(0, 10)] | None = None
    rate: Annotated[float | None, Above(0)] = None
    lambda_: Annotated[float, Inside(0, 2)] = 1.0
    how: Literal["sum", "mean"] = "sum"
    n: Literal["all"] | Annotated[int, AtLeast(2)] = 2
    free: str = ""

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    """Declares a field anew, for another default."""

    turns: int = 5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"turns": 0}, "turns = 0: must be from 1 to 1000"),
        ({"turns": "3"}, "turns = '3': must be a number"),
        ({"turns": None}, "turns = None: must be a number"),
        ({"turns": 2.5}, "turns = 2.5: must be a whole number"),
        ({"turns": True}, "turns = True: must be a number"),
        ({"weight": -1.0}, r"weight = -1.0: must be in \[0, 1e6\); 0 turns it off"),
        ({"weight": 1e6}, "weight"),
        ({"weight": math.nan}, "weight"),
        ({"betas": (0.9, 1.0)}, r"betas = \(0.9, 1.0\): both must be in \[0, 1\)"),
        ({"betas": (0.9,)}, "needs 2 values"),
        ({"widths": (8, 0)}, r"widths = \(8, 0\): every one must be at least 1"),
        ({"widths": "8"}, "must be a list"),
        ({"lr": 0.0}, "lr = 0.0: must be positive and at most 10"),
        ({"rate": math.inf}, "rate = inf: must be positive"),
        ({"lambda_": 2}, r"lambda = 2: must be in \(0, 2\)"),
        ({"how": "max"}, "how = 'max': must be one of sum, mean"),
        ({"how": None}, "how = None"),
        ({"n": "al"}, "n = 'al': must be one of all"),
        ({"n": 1}, "n = 1: must be at least 2"),
        ({"n": None}, "n = None"),
    ],
)
def test_a_value_outside_its_range_is_refused(given: dict[str, Any], says: str) -> None:
    for settings in (Base, Derived):
        with pytest.raises(SettingError, match=says):
            settings(**given)


def test_a_value_within_its_range_passes() -> None:
    Base(turns=1000, weight=0, betas=(0, 0.5), widths=(1, 2), lr=10, rate=1e9, lambda_=0.1, how="mean", n="all")
    assert Derived().turns == 5 and Base(n=2).free == ""


def test_the_help_finds_a_range_and_a_declared_field_keeps_the_one_of_its_base() -> None:
    assert [mark.words for mark in marks_of(Derived, "turns", Range)] == ["from 1 to 1000"]
    assert [mark.words for mark in marks_of(Base, "lr", Range)] == ["above 0, at most 10"]
    assert marks_of(Base, "rate", Range) and not marks_of(Base, "widths", Range) and not marks_of(Base, "free", Range)


def test_a_function_is_checked_before_it_is_called() -> None:
    called = []

    @checked
    def tool(run: Run | str, n: Annotated[int, Between(1, 64)] = 4, *, how: Literal["a", "b"] = "a") -> int:
        called.append(run)
        return n

    assert tool("here") == 4 and tool("here", 5, how="b") == 5
    with pytest.raises(SettingError, match="n = 65: must be from 1 to 64"):
        tool("there", 65)
    with pytest.raises(SettingError, match="how = 'c': must be one of a, b"):
        tool("there", how="c")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        tool()  # type: ignore[call-arg]
    assert called == ["here", "here"]
