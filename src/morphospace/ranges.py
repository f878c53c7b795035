"""Ranges in types: `Annotated[int, Between(1, 64)]` says what a setting or an argument may be, and is checked here.

Ranges stand in the annotations of settings and of the tools' functions, where the command line finds them for its help.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from morphospace.errors import SettingError, require

P = ParamSpec("P")
T = TypeVar("T")
Check = Callable[[str, Any], None]

OFF = "0 turns it off"


@dataclass(frozen=True)
class Range:
    """The numbers that a setting or argument may be. Infinite numbers and NaN are outside every range.

    >>> Between(1, 64).rule, AtLeast(2).rule, Above(0, 10).rule, Below(0, 1).rule
    ('must be from 1 to 64', 'must be at least 2', 'must be positive and at most 10', 'must be in [0, 1)')

    Attributes:
        low: The lowest number.
        high: The highest number.
        way_out: What to do next, for the error.
    """

    low: float
    high: float = math.inf
    way_out: str = ""

    without_low: ClassVar[bool] = False
    without_high: ClassVar[bool] = False

    @property
    def rule(self) -> str:
        """The rule in words, as an error says it."""
        low, high = written(self.low), written(self.high)
        if self.without_high:
            return f"must be in {'(' if self.without_low else '['}{low}, {high})"
        if self.without_low:
            above = "must be positive" if self.low == 0 else f"must be above {low}"
            return above if self.high == math.inf else f"{above} and at most {high}"
        if self.high == math.inf:
            return "must not be negative" if self.low == 0 else f"must be at least {low}"
        return f"must be from {low} to {high}"

    @property
    def words(self) -> str:
        """The range in words, as the help says it.

        >>> Between(1, 64).words, AtLeast(0).words, Above(0, 10).words, Below(0, 1).words
        ('from 1 to 64', 'at least 0', 'above 0, at most 10', 'at least 0, below 1')
        """
        if self.high < math.inf and not (self.without_low or self.without_high):
            return f"from {written(self.low)} to {written(self.high)}"
        low = f"{'above' if self.without_low else 'at least'} {written(self.low)}"
        high = f", {'below' if self.without_high else 'at most'} {written(self.high)}"
        return low if self.high == math.inf else low + high

    def holds(self, number: float) -> bool:
        """Return whether a number is in the range."""
        above = number > self.low if self.without_low else number >= self.low
        below = number < self.high if self.without_high else number <= self.high
        return above and below and math.isfinite(number)

    def check(self, name: str, value: Any) -> None:
        """Check a value.

        Raises:
            SettingError: If it is no number, or outside the range.
        """
        if not issubclass(type(value), Real) or isinstance(value, bool):
            raise SettingError(name, value, "must be a number")
        if not self.holds(value):
            raise SettingError(name, value, self.rule, self.way_out)


class Between(Range):
    """From `low` to `high`, both included."""


class AtLeast(Range):
    """From `low` upwards."""


class Above(Range):
    """Above `low`, and at most `high` where it is given."""

    without_low = True


class Below(Range):
    """From `low` on, and below `high`."""

    without_high = True


class Inside(Range):
    """Above `low` and below `high`."""

    without_low = without_high = True


def written(number: float) -> str:
    """Return a bound as messages write it.

    >>> [written(bound) for bound in (1, 0.5, 65_536, 100_000, 10**12, 1e6, 2**63 - 1)]
    ['1', '0.5', '65536', '100,000', '1e12', '1e6', '2**63 - 1']
    """
    if number == 2**63 - 1:
        return "2**63 - 1"
    power = round(math.log10(number)) if 0 < number < math.inf else 0
    if number == 10**power and (power >= 7 or (power >= 5 and isinstance(number, float))):
        return f"1e{power}"
    return f"{number:,}" if isinstance(number, int) and number >= 100_000 else f"{number:g}"


Seed = Annotated[int, Between(0, 2**63 - 1)]


def check_ranges(declared: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check values by the annotations of a class's fields or of a function's parameters, by name.

    It checks ranges and `Literal` choices, also within unions, lists and tuples; None passes where the type has it.
    A field that a subclass declares anew keeps the ranges of the base class. Other types are not checked.

    >>> def draw(n: Annotated[int, Between(1, 64)], how: Literal["grid", "row"] = "grid") -> None: ...
    >>> check_ranges(draw, {"n": 64, "how": "row"})
    >>> check_ranges(draw, {"n": 65})
    Traceback (most recent call last):
    morphospace.errors.SettingError: n = 65: must be from 1 to 64

    Args:
        declared: A class or a function.
        values: The values, such as `vars(self)` or `locals()`; other names in it are left.

    Raises:
        SettingError: If a value is outside its range, or none of its choices.
    """
    for name, checks in _checks_of(declared).items():
        if name in values:
            for check in checks:
                check(name.removesuffix("_"), values[name])


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Check a function's arguments by `check_ranges` before it is called."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        check_ranges(function, signature.bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    return call


@functools.cache
def types_of(declared: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Return the annotations of a class's fields, or of a function's parameters; of several bases, the nearest first.

    A name that is imported for type checkers only stands for a type that nothing is known of.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for owner in declared.__mro__ if isinstance(declared, type) else [inspect.unwrap(declared)]:
        known = _Names(vars(sys.modules[owner.__module__]))
        for name, hint in inspect.get_annotations(owner).items():
            if name != "return":
                found[name] = (*found.get(name, ()), eval(hint, {}, known) if isinstance(hint, str) else hint)
    return found


def marks_of(declared: Callable[..., Any], name: str, kind: type[T]) -> list[T]:
    """Return the marks of one kind, such as `Range`, on a field or parameter; those of the nearest class first."""
    return [mark for hint in types_of(declared).get(name, ()) for mark in _marks(hint) if isinstance(mark, kind)]


def _marks(hint: Any) -> list[Any]:
    """Return the marks of a type itself or of one in a union with it, not of a list's items."""
    if get_origin(hint) is Annotated:
        return [*hint.__metadata__, *_marks(hint.__origin__)]
    return [mark for option in get_args(hint) for mark in _marks(option)] if _is_union(hint) else []


class Unknown(type):
    """A type that nothing is known of."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, items: Any) -> Any:
        return cls


class _Names(dict[str, Any]):
    """The names of a module; others stand for an unknown type."""

    def __missing__(self, name: str) -> Any:
        return getattr(sys.modules["builtins"], name, None) or Unknown(name, (), {})


@functools.cache
def _checks_of(declared: Callable[..., Any]) -> dict[str, list[Check]]:
    found = {name: [_check_of(hint) for hint in hints] for name, hints in types_of(declared).items()}
    return {name: kept for name, checks in found.items() if (kept := [check for check in checks if check])}


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _check_of(hint: Any) -> Check | None:
    """Return what checks a value of a type; None where any value passes."""
    options = get_args(hint)
    if get_origin(hint) is Annotated:
        checks = [_check_of(hint.__origin__), *(mark.check for mark in hint.__metadata__ if isinstance(mark, Range))]
        bare = get_args(hint.__origin__) or (hint.__origin__,)
        if len(checks) > 1 and int in bare and float not in bare:
            checks.append(_check_whole)
        return _in_turn([check for check in checks if check], type(None) in bare)
    if get_origin(hint) is Literal:
        return lambda name, value: require(
            value in options, name, value, f"must be one of {', '.join(map(str, options))}"
        )
    if _is_union(hint):
        return _check_of_union(options)
    items = [_check_of(option) for option in options if option is not Ellipsis]
    if not isinstance(get_origin(hint), type) or not any(items) or issubclass(get_origin(hint), Mapping):
        return None
    fixed = get_origin(hint) is tuple and Ellipsis not in options
    return lambda name, value: _check_items(name, value, items, fixed)


def _check_whole(name: str, value: Any) -> None:
    require(isinstance(value, Integral), name, value, "must be a whole number")


def _check_items(name: str, value: Any, items: list[Check | None], fixed: bool) -> None:
    if isinstance(value, str):
        raise SettingError(name, value, "must be a list")
    if not isinstance(value, list | tuple):
        return
    if fixed:
        require(len(value) == len(items), name, value, f"needs {len(items)} values")
    for item, check in zip(value, items if fixed else items * len(value)):
        try:
            if check is not None:
                check(name, item)
        except SettingError as error:
            raise SettingError(name, value, f"{'both' if fixed else 'every one'} {error.rule}", error.way_out) from None


def _in_turn(checks: list[Check], optional: bool) -> Check | None:
    def check_each(name: str, value: Any) -> None:
        if value is not None or not optional:
            for check in checks:
                check(name, value)

    return check_each if checks else None


def _check_of_union(options: tuple[Any, ...]) -> Check | None:
    """Return the check of the option whose kind of value it is; another value passes if an option allows any."""
    checks = [(check, _kinds(option)) for option in options if (check := _check_of(option)) is not None]
    free = len(checks) < len([option for option in options if option is not type(None)])

    def check_option(name: str, value: Any) -> None:
        own = [check for check, kinds in checks if isinstance(value, kinds)]
        if own or not (free or (value is None and type(None) in options)):
            (own or [check for check, _ in checks])[0](name, value)

    return check_option if checks else None


def _kinds(hint: Any) -> tuple[type, ...]:
    """Return the classes that values of a type are of."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kinds(hint.__origin__)
    if _is_union(hint):
        return tuple(kind for option in options for kind in _kinds(option))
    if origin is Literal:
        return tuple({type(option) for option in options})
    if hint in (int, float):
        return (Real,)
    return tuple(kind for kind in (origin or hint,) if isinstance(kind, type))
