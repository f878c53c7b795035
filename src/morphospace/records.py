"""One typed reading of what files say: JSON, TOML and headers of arrays, checked against a declared type.

A schema is a type: a `TypedDict` for a file that later versions may add keys to, a dataclass for one whose keys are all
known, and inside them lists, mappings, unions, choices (`Literal`) and ranges (`Annotated[int, Between(1, 64)]`).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, TypeVar, Union

from morphospace.errors import SettingError, nearest, one_line, require, shown
from morphospace.ranges import Range

T = TypeVar("T")

# Python's reader takes a time that grows with the square of a key's depth.
_DEEP = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")


def read_json(text: str | bytes) -> Any:
    """Return what JSON text says.

    Raises:
        ValueError: If it is no JSON, or nested too deeply; the message is one line.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:  # also of bytes that are no text, and of numbers with thousands of digits
        raise ValueError(one_line(error)) from None


def read_toml(text: str) -> dict[str, Any]:
    """Return what TOML text says.

    Raises:
        ValueError: If it is no TOML, or nested too deeply; the message is one line.
    """
    if _DEEP.search(text):
        raise ValueError("has a key of more than 32 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError is one; a number with thousands of digits raises another
        raise ValueError(one_line(error)) from None


def typed(value: Any, hint: Any, name: str = "it") -> Any:
    """Return a value that a file or a caller gave, as a declared type.

    An int becomes a float where one is asked for, and a list a tuple. Nothing else is converted.

    >>> typed([1, 2], tuple[float, ...], "widths")
    (1.0, 2.0)
    >>> typed({"a": "x"}, dict[str, int], "counts")
    Traceback (most recent call last):
    morphospace.errors.SettingError: counts.a = 'x': must be a whole number

    Args:
        value: The value.
        hint: Its type.
        name: What it is called, for the error.

    Raises:
        SettingError: If it is of another type, outside its range, or lacks a key.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is NotRequired:
        return typed(value, options[0], name)
    if origin is Annotated:
        made = typed(value, hint.__origin__, name)
        for mark in hint.__metadata__:
            if isinstance(mark, Range) and made is not None:
                mark.check(name, made)
        return made
    if origin is Literal:
        good = any(type(value) is type(option) and value == option for option in options)
        require(good, name, value, f"must be one of {', '.join(map(repr, options))}")
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, options, name)
    if typing.is_typeddict(hint):
        return _dictionary(value, hint, name)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return record(hint, typed(value, dict[str, Any], name), name)
    if origin is tuple:
        require(isinstance(value, list | tuple), name, value, "must be a list")
        if options[-1] is Ellipsis:
            return tuple(typed(each, options[0], name) for each in value)
        require(len(value) == len(options), name, value, f"needs {len(options)} values")
        return tuple(typed(each, option, name) for each, option in zip(value, options, strict=True))
    if origin in (list, Sequence):
        require(isinstance(value, list | tuple), name, value, "must be a list")
        return [typed(each, options[0], name) for each in value]
    if origin in (dict, Mapping):
        require(isinstance(value, Mapping), name, value, "must be a table of names")
        return {key: typed(each, options[1], f"{name}.{key}") for key, each in value.items()}
    return _plain(value, hint, name)


def _plain(value: Any, hint: Any, name: str) -> Any:
    if hint in (None, type(None)):
        require(value is None, name, value, "must be nothing")
        return value
    whole = isinstance(value, int) and not isinstance(value, bool)
    if hint is float and whole:
        require(abs(value) < 2**1000, name, value, "must be below 2**1000")
        return float(value)
    if hint is int:
        require(whole, name, value, "must be a whole number")
        require(abs(value) < 2**64, name, value, "must be below 2**64")
        return value
    words = {float: "a number", bool: "true or false", str: "text"}
    good = isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    wanted = words.get(hint) or f"of type {getattr(hint, '__name__', hint)}"
    require(good, name, value, f"must be {wanted}")
    return value


def _one_of(value: Any, options: Sequence[Any], name: str) -> Any:
    """Return a value as the first of several types that it is of."""
    wrong: SettingError | None = None
    if int in options and float in options and isinstance(value, int):
        options = [option for option in options if option is not float]
    for option in sorted(options, key=lambda option: option is type(None)):
        try:
            return typed(value, option, name)
        except SettingError as error:
            wrong = wrong or error
    assert wrong is not None
    raise wrong


@functools.cache
def _keys(schema: type) -> dict[str, tuple[Any, bool]]:
    """Return the type of each key of a TypedDict, and whether the key must be there."""
    hints = typing.get_type_hints(schema, include_extras=True)
    return {key: (hint, typing.get_origin(hint) is not NotRequired) for key, hint in hints.items()}


def _dictionary(value: Any, schema: type, name: str) -> dict[str, Any]:
    require(isinstance(value, Mapping), name, value, "must be a table of names")
    keys = _keys(schema)
    missing = [key for key, (_, needed) in keys.items() if needed and key not in value]
    if missing:
        raise SettingError(name, rule=f"lacks {', '.join(missing)}", way_out="add what is missing")
    known = {key: typed(value[key], hint, key) for key, (hint, _) in keys.items() if key in value}
    return {**value, **known}


@functools.cache
def fields_of(cls: type) -> dict[str, Any]:
    """Return a dataclass's fields with their types, without their ranges."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def record(cls: type[T], values: Mapping[str, Any], name: str) -> T:
    """Return a dataclass made of what a file says.

    Raises:
        SettingError: If a key is unknown or missing, or a value is of another type or breaks its rule.
    """
    hints = fields_of(cls)  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in hints:
            raise SettingError(f"{name} {key} = {shown(value)}", rule=f"no such key{nearest(key, hints)}")
    given = {key: typed(value, hints[key], key) for key, value in values.items()}
    needed = [
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [key for key in needed if key not in given]
    if missing:
        raise SettingError(name, rule=f"lacks {', '.join(missing)}", way_out="add what is missing")
    return cls(**given)


def is_count(text: str) -> bool:
    """Return whether a text is a whole number, not negative and below 2**63, in ASCII digits.

    >>> is_count("12"), is_count("-1"), is_count("9" * 5000)
    (True, False, False)
    """
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**63


def number(value: Any) -> bool:
    """Return whether a value is a number that float can hold, or a missing one; quick, for long logs."""
    kind = type(value)
    return kind is float or value is None or (kind is int and abs(value) < 2**63)


def documentation(cls: type) -> dict[str, str]:
    """Return what the "Attributes:" sections of a class and its bases say of each field; the class's own wins."""
    lines: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(vars(base).get("__doc__") or "")
        section = re.search(r"^Attributes:\n((?:^[ ]{4}.*\n?|^\s*\n)+)", text, re.MULTILINE)
        entries = re.split(r"^ {4}(?=\w+:)", section[1] if section else "", flags=re.MULTILINE)[1:]
        for entry in entries:
            name, _, line = entry.partition(":")
            lines[name] = " ".join(line.split())
    return lines
