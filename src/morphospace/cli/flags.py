"""Flags from settings: each field of a settings class is one flag, its docstring line the help.

Every flag defaults to None, "not given", so that only what a user says goes over a recipe; the real default is
shown in the help.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError
from morphospace.plugins import plug
from morphospace.ranges import Range, marks_of
from morphospace.records import documentation, fields_of
from morphospace.runs.configuration import flag_for, recipe_named
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ZOO

Json = Annotated[
    bool, Parameter(help="Print one JSON object on standard output, nothing else.", negative=(), show_default=False)
]

ORDER = ("Model", "Data", "Training")
GROUPS = {name: Group(name, sort_key=10 + i) for i, name in enumerate(ORDER)}
FIRST = Group("What to set first", sort_key=1)
MET_FIRST = ("data", "size", "epochs", "latent_dim")
OF_SETTINGS = ("train", "resume", "sweep", "benchmark", "data")
SECTIONS: dict[str, type] = {"Data": DataSettings, "Training": TrainingSettings}


def _whole(kind: Any, tokens: Sequence[Token]) -> Any:
    """Read a whole number, also as 1e6 or 60_000; 1.5 is refused, not rounded."""
    text = tokens[0].value
    try:
        value = float(text)
        if value.is_integer():
            return int(text) if text.lstrip("+-").replace("_", "").isdigit() else int(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a whole number, for instance 1000 or 1e3")


def _flag(name: str, hint: Any, default: Any, line: str, group: Group | None) -> inspect.Parameter:
    """Return one flag as a keyword parameter."""
    parts = [option for option in typing.get_args(hint) if option is not type(None)]
    inner = parts[0] if typing.get_origin(hint) in (typing.Union, types.UnionType) else hint
    listed = typing.get_origin(inner) is tuple
    if listed:
        # However many are given: the settings count them and say what is wrong.
        inner = tuple[typing.get_args(inner)[0], ...]  # type: ignore[misc]
    if default not in (None, (), ""):
        shown = (
            ("yes" if default else "no")
            if isinstance(default, bool)
            else ",".join(map(str, default))
            if listed
            else default
        )
        line = f"{line} [default: {shown}]"
    about = Parameter(
        name=flag_for(name),
        help=line,
        group=group,
        show_default=False,
        consume_multiple=listed,
        negative=None if inner is bool else (),
        converter=_whole if inner is int else None,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[inner | None, about]
    )


def flags_of(
    cls: type, group: str = "", only: Container[str] | None = None, leave: Container[str] = ()
) -> list[inspect.Parameter]:
    """Return a settings class's fields as keyword parameters.

    Args:
        cls: The settings class.
        group: Heading they stand under in the help.
        only: The fields to take; all when None.
        leave: The fields to leave out.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    lines = documentation(cls)
    own = dict.fromkeys(fields_of(cls), GROUPS.get(group)) | (dict.fromkeys(MET_FIRST, FIRST) if group else {})
    return [
        _flag(name, hint, defaults[name], " ".join([lines.get(name, ""), *_range(cls, name)]), own.get(name))
        for name, hint in fields_of(cls).items()
        if (only is None or name in only) and name not in leave
    ]


def _range(cls: type, name: str) -> list[str]:
    """Return a field's range in words, for the help: [from 1 to 64]."""
    return [f"[{found.words}]" for found in marks_of(cls, name, Range)[:1]]


def given_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a command line gave.

    Raises:
        SettingError: A flag that takes a list was given nothing.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    for name, value in given.items():
        if value == ():
            raise SettingError(flag_for(name), rule="needs a value", way_out="give one, or leave the flag out")
    return given


def with_flags(function: Callable[..., Any], flags: Iterable[inspect.Parameter]) -> Callable[..., Any]:
    """Return `function` with its `**settings` spelled out as flags."""
    own = inspect.signature(function, eval_str=True)
    kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]

    def command(*arguments: Any, **values: Any) -> Any:
        return function(*arguments, **values)

    signature = own.replace(parameters=[*kept, *flags])
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def _fields() -> dict[str, Any]:
    """Return the types of every setting there is, by name; of the models of packages, where one has been loaded."""
    classes = (*ZOO.loaded.values(), *SECTIONS.values())
    return {name: hint for cls in classes for name, hint in fields_of(cls).items()}


def list_flags() -> set[str]:
    """Return the flags that take several values."""
    return {flag_for(name) for name, hint in _fields().items() if typing.get_origin(hint) is tuple}


def switches() -> set[str]:
    """Return the flags that take no value."""
    names = [name for name, hint in _fields().items() if hint is bool or bool in typing.get_args(hint)]
    flags = {flag_for(name) for name in names}
    return flags | {f"--no-{flag[2:]}" for flag in flags} | {"--json", "--dry-run"}


def split_lists(tokens: Sequence[str]) -> list[str]:
    """Let `--widths 32,64` and `--widths=32,64` be `--widths 32 64`, for the verbs whose flags are settings.

    >>> split_lists(["train", "vae", "--widths=32,64", "--out", "a,b"])
    ['train', 'vae', '--widths', '32', '64', '--out', 'a,b']
    """
    if not tokens or tokens[0] not in OF_SETTINGS:
        return list(tokens)  # `evaluate --metrics fd,kid` takes one text
    ZOO.load([*tokens, *_models_of_recipes(tokens)])
    listed, split, inside = list_flags(), [], False
    for token in tokens:
        flag, equals, value = token.partition("=")
        if flag in listed and equals:
            split += [flag, *_words(value)]
            inside = False
            continue
        if token.startswith("--"):
            inside = token in listed
        split += _words(token) if inside and not token.startswith("--") else [token]
    return split


def without_plugins(tokens: Sequence[str]) -> list[str]:
    """Import the modules that `--plugin MODULE` names, and return the other words.

    Raises:
        SettingError: If a module cannot be imported, or none is given.
    """
    others: list[str] = []
    words = iter(tokens)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != "--plugin":
            others.append(word)
            continue
        module = value if equals else next(words, "")
        if not module or module.startswith("-"):
            raise SettingError("--plugin", rule="needs a value", way_out="give the name of a Python module")
        plug(module)
    return others


def _models_of_recipes(tokens: Sequence[str]) -> list[str]:
    """Return the models that the recipes on a command line are for."""
    found: list[str] = []
    for before, token in zip(["", *tokens], tokens):
        flag, equals, value = token.partition("=")
        recipe = value if equals and flag == "--recipe" else token if before == "--recipe" else ""
        with suppress(SettingError):  # whoever reads the recipe says what is wrong with it
            found.append(str(recipe_named(recipe).sections.get("model", {}).get("name")) if recipe else "")
    return found


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]
