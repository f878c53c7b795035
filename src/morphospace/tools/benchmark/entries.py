"""What a benchmark trains: its models, the settings that are tried for each, and how long every run is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError, nearest, require
from morphospace.randomness import stream
from morphospace.ranges import Above, Between
from morphospace.records import fields_of
from morphospace.roles import Role, fields_with
from morphospace.runs.configuration import (
    Configuration,
    as_written,
    field_named,
    recipe_named,
    recipes,
    resolve,
    settings_classes,
)
from morphospace.tools.sweep.grid import Combination, parse_grid, value_of, words_of
from morphospace.zoo.settings import ZOO

SPACE = ("lr=x0.3,x1,x3", "batch_size=32,64,128")
"""What is tried for each model if nothing else is named: x0.3 is three tenths of the model's own value."""
MOST_MODELS = 40
RECIPE = "recipe:"
RATES = {
    "lr": ("critic_lr", "encoder_lr", "prior_lr")
}  # settings that a factor of another scales too, and that change no run's speed
NOT_IMAGES = ("binarise",)  # the model's own choice, with all data settings that only change how well it learns

Minutes = Annotated[float, Above(0, 100_000)]
Trials = Annotated[int, Between(0, 100)]
Seeds = Annotated[int, Between(1, 100)]
Tuning = Literal["random", "grid"]


@dataclass(frozen=True)
class Entry:
    """A model of a benchmark.

    Attributes:
        name: What the page calls it.
        model: Its name in the zoo; None if a recipe names it.
        recipe: A recipe or TOML file; None for the model's own settings.
        shared: The settings that all models share: the images, the device.
        trials: The settings that vary in each trial, by the names that users write; the first varies none.
        combinations: How many different settings the search space has for this model.
    """

    name: str
    model: str | None
    recipe: str | None
    shared: Mapping[str, Any]
    trials: tuple[Mapping[str, Any], ...] = ({},)
    combinations: int = 1

    def configuration(self, varied: Mapping[str, Any]) -> Configuration:
        """Return the whole configuration with some settings varied."""
        return resolve(self.model, self.recipe, {**self.shared, **varied})

    def run(self, kind: str, number: int, varied: Mapping[str, Any], **more: Any) -> Combination:
        """Return a run: `kind` and `number` name its folder."""
        given = {**self.shared, **varied, **more}
        return Combination(f"{self.name}_{kind}={number}", varied, given, resolve(self.model, self.recipe, given))

    def pace(self, varied: Mapping[str, Any]) -> str:
        """Return a key: two runs of this model with the same key are trained at the same speed."""
        rates = {*RATES, *itertools.chain(*RATES.values())}
        return ", ".join([self.name, *words_of({k: v for k, v in varied.items() if k not in rates})])


def entries_of(
    models: Sequence[str],
    data: Mapping[str, Any],
    device: str,
    search: Sequence[str],
    trials: int,
    tuning: str,
    seed: int,
) -> list[Entry]:
    """Return the models of a benchmark with their trials.

    Args:
        models: Names of models, recipes (`recipe:NAME` where a model has the same name) or TOML files.
        data: The data settings that the user gave, by field.
        device: Where to compute.
        search: The search space, as `lr=x0.3,x1,x3`.
        trials: How many settings are tried for each model; fewer than two try none but its own.
        tuning: `random` draws from the space, `grid` takes all of it.
        seed: Which trials are drawn.

    Raises:
        SettingError: If there is no such model, recipe or setting, or a name is there twice.
    """
    require(2 <= len(models) <= MOST_MODELS, "models", list(models), f"must be from 2 to {MOST_MODELS} names")
    found = [_entry(name, {**_images(data), "device": device}) for name in models]
    names = [entry.name for entry in found]
    for name in names:
        require(names.count(name) == 1, "models", name, "is there twice", "name each once, TOML files differently")
    space = parse_grid(search)
    known = {as_written(field) for entry in found for field in _fields(entry)}
    for key in space:
        require(key in known, "search", key, f"none of the models has such a setting{nearest(key, known)}")
    for key in ("seed", "images", "epochs", *map(as_written, fields_with(DataSettings, Role.OBJECTIVE, Role.SOURCE))):
        require(key not in space, "search", key, "is the same for all models", "search another setting")
    return [_with_trials(entry, space, trials, tuning, seed) for entry in found]


def _entry(name: str, shared: Mapping[str, Any]) -> Entry:
    """Return the entry of a name."""
    bare = name.removeprefix(RECIPE)
    if name in ZOO:
        entry = Entry(name, name, None, shared)
    elif bare in recipes() or bare.endswith(".toml"):
        recipe_named(bare)
        entry = Entry(
            re.sub(r"[^\w.+-]+", "-", Path(bare).stem if bare.endswith(".toml") else bare), None, bare, shared
        )
    else:
        raise SettingError("models", name, f"no such model or recipe{nearest(name, [*ZOO, *recipes()])}")
    entry.configuration({})
    return entry


def _images(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data settings that all models share: those that decide which images there are, and any given."""
    images = [*fields_with(DataSettings, Role.OBJECTIVE, Role.SOURCE, Role.PLACE), "valid", "max_pixels", "strict"]
    plain = DataSettings()
    return {name: getattr(plain, name) for name in images if name not in NOT_IMAGES} | dict(given)


def _fields(entry: Entry) -> dict[str, Any]:
    """Return the types of an entry's settings by field."""
    classes = settings_classes(entry.configuration({}).model.name)
    return {field: hint for cls in classes.values() for field, hint in fields_of(cls).items()}


def _with_trials(entry: Entry, space: Mapping[str, Sequence[str]], trials: int, tuning: str, seed: int) -> Entry:
    """Return an entry with its trials: its own settings first, then others of the space, each once."""
    hints, base = _fields(entry), entry.configuration({})
    axes: list[list[dict[str, Any]]] = []
    for key, values in space.items():
        field = field_named(key, hints)
        if field in hints:
            axes.append([_varied(base, field, value, hints[field]) for value in values])
    products = [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*axes)]
    kept: dict[str, Mapping[str, Any]] = {str(base): {}}
    for varied in products:
        kept.setdefault(str(entry.configuration(varied)), varied)
    own, *others = kept.values()
    if trials < 2:
        return Entry(entry.name, entry.model, entry.recipe, entry.shared, (own,), len(kept))
    if tuning == "grid":
        rule = f"must be {len(kept)} at least, the combinations of the grid for {entry.name} with its own settings"
        require(trials >= len(kept), "trials", trials, rule, "or search fewer values, or draw with --tuning random")
    else:
        order = np.random.default_rng(stream(seed, "trials", entry.name)).permutation(len(others))
        others = [others[i] for i in order]
    taken = (own, *others[: trials - 1])
    return Entry(entry.name, entry.model, entry.recipe, entry.shared, taken, len(kept))


def _varied(base: Configuration, field: str, text: str, hint: Any) -> dict[str, Any]:
    """Return the settings that one value of the search space sets, by the names that users write."""
    factor = re.fullmatch(r"x(\d+(?:\.\d+)?)", text)
    if factor is None:
        return {as_written(field): value_of(text, hint, as_written(field))}
    names = [name for name in (field, *RATES.get(field, ())) if _own(base, name) is not None]
    own = {name: _own(base, name) for name in names}
    way_out = f"give values themselves, as {as_written(field)}=A,B"
    for name, value in own.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(number, "search", f"{as_written(field)}={text}", f"{name} = {value!r} cannot be multiplied", way_out)
    require(bool(own), "search", f"{as_written(field)}={text}", f"{base.model.name} has no value to multiply", way_out)
    scaled = {name: float(f"{float(value) * float(factor[1]):.6g}") for name, value in own.items()}
    return {as_written(name): round(v) if isinstance(own[name], int) else v for name, v in scaled.items()}


def _own(base: Configuration, field: str) -> Any:
    """Return an entry's own value of a setting; None where it has no such setting, or none is set."""
    for section in (base.model, base.data, base.training):
        if hasattr(section, field):
            return getattr(section, field)
    return None
