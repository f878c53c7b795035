"""The grid of a sweep: read it, and list its runs."""

from __future__ import annotations

import itertools
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from morphospace.errors import SettingError, nearest, require
from morphospace.ranges import Between, check_ranges
from morphospace.records import fields_of
from morphospace.runs.configuration import Configuration, as_written, field_named, resolve
from morphospace.runs.folder import own_settings

MOST = 1000
Seeds = Annotated[int, Between(1, MOST)]


@dataclass(frozen=True)
class Combination:
    """One run of a sweep.

    Attributes:
        name: Its folder, named by the settings that vary.
        settings: The settings that vary, by the names that users write.
        given: All settings given for it, by field.
        configuration: Its whole configuration.
    """

    name: str
    settings: Mapping[str, Any]
    given: Mapping[str, Any]
    configuration: Configuration

    @property
    def words(self) -> list[str]:
        """Return the settings that vary, each as `beta=0.5`."""
        return words_of(self.settings)


def parse_grid(words: Sequence[str]) -> dict[str, list[str]]:
    """Read the settings that vary, written as `beta=0.5,1,4`.

    >>> parse_grid(["lambda=0,0.1,1", "latent-dim=8"])
    {'lambda': ['0', '0.1', '1'], 'latent_dim': ['8']}

    Raises:
        SettingError: If a word has another form, or a setting is there twice.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        key, _, values = word.partition("=")
        key = key.removeprefix("--").replace("-", "_")
        listed = [value for value in values.split(",") if value]
        require(bool(key and listed), "grid", word, "must be SETTING=VALUE,VALUE, for instance beta=0.5,1,4")
        require(key not in found, "grid", word, f"names {key} a second time", "give all its values at once")
        found[key] = listed
    return found


def combinations(
    model: str | None,
    recipe: str | None,
    grid: Mapping[str, Sequence[Any]],
    seeds: Seeds,
    settings: Mapping[str, Any],
    out: Path | None = None,
) -> list[Combination]:
    """Return every run of a grid. Each is resolved, so mistakes are refused before the first run is trained.

    Args:
        model: Name of the model; may be left to the recipe.
        recipe: Name of a recipe or path of a TOML file.
        grid: Values of each setting that varies; texts are read as the setting's type.
        seeds: How many seeds for each combination, counted up from the seed in the settings.
        settings: The settings that all runs share.
        out: The sweep's folder; runs that it holds keep the settings that are not named here.

    Raises:
        SettingError: If a setting is unknown or given twice, or a value breaks its rule.
    """
    check_ranges(combinations, locals())
    base = resolve(model, recipe, settings)
    kinds: list[type] = [type(part) for part in (base.model, base.data, base.training)]
    hints = {field: hint for kind in kinds for field, hint in fields_of(kind).items()}
    axes: dict[str, list[Any]] = {}
    for key, values in grid.items():
        field = field_named(key, hints)
        if field not in hints:
            near = nearest(key, map(as_written, hints))
            raise SettingError("grid", rule=f"{key} = {values!r}: {base.model.name} has no such setting{near}")
        shared = [name for name in settings if field_named(name, hints) == field]
        require(not shared, "grid", key, "is given as a flag as well", "leave one of them out")
        require(not isinstance(values, str) and len(values) > 0, "grid", key, "needs a list of values")
        axes[field] = [value_of(value, hints[field], as_written(field)) for value in values]
    if seeds > 1:
        require("seed" not in axes, "seeds", seeds, "and seed in the grid say the same", "leave one of them out")
        axes["seed"] = [base.training.seed + i for i in range(seeds)]
    count = math.prod(map(len, axes.values()))
    require(bool(axes) and count <= MOST, "grid", list(grid), f"makes {count} runs, must be from 1 to {MOST}")
    return _resolved(model, recipe, axes, settings, out)


def _resolved(
    model: str | None,
    recipe: str | None,
    axes: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Any],
    out: Path | None,
) -> list[Combination]:
    """Return the product of the axes."""
    made: dict[str, Combination] = {}
    for values in itertools.product(*axes.values()):
        varied = dict(zip(axes, values))
        written = {as_written(field): value for field, value in varied.items()}
        name = "_".join(words_of(written))
        require(name not in made, "grid", name, "is there twice", "leave one out")
        given = {**settings, **varied}
        own = own_settings(None if out is None else out / name)
        made[name] = Combination(name, written, given, resolve(model, recipe, given, own=own))
    return list(made.values())


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as words for a folder's name or a table, each as `beta=0.5`."""
    return [f"{name}={_in_a_path(value)}" for name, value in settings.items()]


def _in_a_path(value: Any) -> str:
    """Return a value as part of a folder's name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    text = "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text)


def value_of(value: Any, hint: Any, name: str) -> Any:
    """Return a text as the setting's type; other values as they are.

    Raises:
        SettingError: If it is no such value.
    """
    if not isinstance(value, str):
        return value
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (option for option in options if option is not type(None))
        return None if value == "none" else value_of(value, hint, name)
    if origin is tuple:
        return tuple(value_of(part, options[0], name) for part in value.split("+"))
    if hint is str or origin is Literal:
        return value
    if hint is bool:
        known = {"yes": True, "true": True, "no": False, "false": False}
        require(value.lower() in known, name, value, "must be yes or no")
        return known[value.lower()]
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    whole = hint is int
    rule = "must be a whole number" if whole else "must be a number"
    require(number == number and (not whole or number.is_integer()), name, value, rule)
    return int(number) if whole else number
