"""The whole configuration of a run: one source for API, flags, recipes, TOML files and run folders."""

from __future__ import annotations

import typing
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError, nearest, require, shown
from morphospace.files import read_text
from morphospace.ranges import marks_of
from morphospace.records import fields_of, read_toml, typed
from morphospace.roles import DESCRIPTIVE, Advice, HoldsPath, Role, fields_with
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ZOO, ModelSettings, settings_class


@dataclass(frozen=True)
class Configuration:
    """Model, data and training settings.

    Attributes:
        model: Settings of the model.
        data: Settings of the data.
        training: Settings of training.
        named: The settings that a call or recipe names, where all others are those of a run that is there already; None
            if there is no such run.
    """

    model: ModelSettings
    data: DataSettings
    training: TrainingSettings
    named: frozenset[str] | None = field(default=None, compare=False, repr=False)

    @property
    def condition(self) -> str:
        """What a conditional model is given (`label`, `attributes:...`); empty for the others."""
        return getattr(self.model, "condition", "")

    def with_batch_size(self, size: int | None) -> Configuration:
        """Return the configuration with a batch size, if it has none yet."""
        if self.training.batch_size is not None:
            return self
        return replace(self, training=replace(self.training, batch_size=size))

    def to_dict(self, *roles: Role) -> dict[str, dict[str, Any]]:
        """Return the configuration as TOML sections, settings that are None left out.

        Args:
            roles: Takes the settings of these roles only; all when none is given.
        """
        sections = {name: _plain(getattr(self, name), roles or tuple(Role)) for name in ("model", "data", "training")}
        sections["model"] = {"name": self.model.name, **sections["model"]}
        return sections

    def described(self) -> dict[str, dict[str, Any]]:
        """Return the settings that describe a run to others, as TOML sections; of a path only its last part."""
        sections = self.to_dict(*DESCRIPTIVE)
        for section, values in sections.items():
            for name in [name for name in values if marks_of(type(getattr(self, section)), name, HoldsPath)]:
                values[name] = HoldsPath.last_part(values[name])
        return sections

    def to_toml(self) -> str:
        """Return the configuration as TOML."""
        return toml_of(self.to_dict())

    def differences(self, other: Configuration) -> list[str]:
        """Return in words the settings by which `other` is another run than this; of another model, the model alone."""
        if self.model.name != other.model.name:
            return [f"model = {other.model.name!r}, was {self.model.name!r}"]
        # A rate that goes down ends with the run. The images are compared by their pack's hash, not by their name.
        length = (Role.LENGTH,) if self.training.schedule != "constant" else ()
        changed = self.changed(other, Role.OBJECTIVE, Role.FIT, *length)
        return [f"{key} = {now!r}, was {before!r}" for key, before, now in changed]

    def takes(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a run could have this configuration with other values of some settings.

        Args:
            settings: Values by name, of the model, the data or training.
        """
        try:
            resolve(self.model.name, overrides=settings, own=self)
        except SettingError:
            return False
        return True

    def changed(self, other: Configuration, *roles: Role) -> list[tuple[str, Any, Any]]:
        """Return name, value here and value in `other` of the settings that differ, of all roles or of some."""
        mine, theirs = (each.to_dict(*roles) for each in (self, other))
        return [
            (key, mine[section].get(key), theirs[section].get(key))
            for section in mine
            for key in dict.fromkeys([*mine[section], *theirs[section]])
            if mine[section].get(key) != theirs[section].get(key)
        ]


class About(TypedDict):
    """The `[recipe]` table: what a recipe is, in words and numbers.

    A laptop twin takes a few minutes of one core and shows what a longer recipe shows: `twin_of` names that recipe, and
    `adds` says what the longer one adds.
    """

    title: NotRequired[str]
    source: NotRequired[str]
    year: NotRequired[int]
    data: NotRequired[str]
    minutes: NotRequired[int | float]
    share: NotRequired[int | float]
    expect: NotRequired[str]
    note: NotRequired[str]
    twin_of: NotRequired[str]
    adds: NotRequired[str]


@dataclass(frozen=True)
class Recipe:
    """A published system, or an improved variant of one.

    Attributes:
        name: The file's name.
        about: The `[recipe]` table: title, source, year of the method's paper, minutes on CPU, what to expect.
        sections: `[model]`, `[data]` and `[training]`, only what differs from the defaults.
    """

    name: str
    about: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]]


@cache
def recipes() -> dict[str, Recipe]:
    """Return all recipes that come with the library, by name; laptop twins first."""
    folder = resources.files("morphospace") / "recipes"
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    read = [_recipe(f.name[:-5], f.read_text(encoding="utf-8")) for f in found]
    return {recipe.name: recipe for recipe in sorted(read, key=lambda recipe: "twin_of" not in recipe.about)}


def recipe_named(name: str) -> Recipe:
    """Return a recipe by its name, or from a TOML file by its path.

    Raises:
        SettingError: If there is no such recipe or file; the message names the nearest one.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise SettingError(
                "recipe", name, "no such file", "give a path of a TOML file or a name, see `morpho recipes`"
            )
        try:
            return _recipe(path.stem, read_text(path, links=True))
        except UnicodeDecodeError as error:
            raise SettingError("recipe", name, "is no text file", "give a TOML file") from error
    if name not in recipes():
        raise SettingError("recipe", name, f"no such recipe{nearest(name, recipes())}", "see `morpho recipes`")
    return recipes()[name]


def _has_date(value: Any) -> bool:
    """Return whether a value of a TOML file is or holds a date or time, which no setting is."""
    if isinstance(value, list | dict):
        return any(map(_has_date, value.values() if isinstance(value, dict) else value))
    return isinstance(value, date | time)


def _recipe(name: str, text: str) -> Recipe:
    try:
        content = read_toml(text)
    except ValueError as error:
        raise SettingError("recipe", name, f"not valid TOML ({error})", "correct the file") from error
    about = content.pop("recipe", {})
    of_a_run = content.pop("run", None) is not None
    for section, values in {"recipe": about, **content}.items():
        if not isinstance(values, dict):
            raise SettingError("recipe", name, f"{section} = {shown(values)} must be a section, [{section}]")
        for key, value in values.items():
            if _has_date(value):
                way_out = "write a number, a text in quotes, or a list"
                raise SettingError("recipe", name, f"[{section}] {key} holds a date or time", way_out)
    for section in content:
        if section not in ("model", "data", "training"):
            raise SettingError(
                "recipe", name, f"unknown section [{section}]{nearest(section, ('model', 'data', 'training'))}"
            )
    model = content.get("model", {})
    known = model.get("name")
    if of_a_run and isinstance(known, str) and known in ZOO:
        content["model"] = {**settings_class(known).earlier, **model}
    try:
        return Recipe(name, typed(about, About, "[recipe]"), content)
    except SettingError as error:
        raise SettingError("recipe", name, str(error), "correct the file") from None


def resolve(
    model: str | None = None,
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    own: Configuration | None = None,
) -> Configuration:
    """Build a configuration: the defaults or a run's own settings, under a recipe or TOML file, under single settings.

    Args:
        model: Zoo member; if None, the recipe's own or that of the run.
        recipe: Name of a recipe, or path of a TOML file (a run's `run.toml` is one).
        overrides: Settings by their plain names (`beta`, `size`, `batch_size`); they win.
        own: The settings of a run that is to continue. It keeps all that neither `recipe` nor `overrides` names: a
            default that has changed since is no difference.

    Raises:
        SettingError: If a key is unknown, or a value is of another type or breaks its rule.
    """
    overrides = overrides or {}
    written = {} if recipe is None else {key: dict(values) for key, values in recipe_named(recipe).sections.items()}
    of_recipe = written.get("model", {}).pop("name", None)
    name = model or of_recipe or (None if own is None else own.model.name)
    if name is None:
        raise SettingError("model", rule="none given", way_out="name one (see `morpho models`) or a --recipe that does")
    name = typed(name, str, "model name")
    classes = settings_classes(name)
    if of_recipe is not None and of_recipe != name:
        raise SettingError("model", name, f"the recipe {recipe!r} is for {of_recipe!r}", "leave one of them out")
    named: dict[str, dict[str, Any]] = {
        section: {field_named(key, fields_of(cls)): value for key, value in written.get(section, {}).items()}
        for section, cls in classes.items()
    }
    homes = {each: section for section, cls in classes.items() for each in fields_of(cls)}
    for key, value in overrides.items():
        each = field_named(key, homes)
        if each not in homes:
            raise SettingError(key, value, f"{name} has no such setting{nearest(key, map(as_written, homes))}")
        named[homes[each]][each] = value
    if overrides.get("epochs") is not None and "images" not in overrides:
        named["training"].pop("images", None)  # a length asked for wins over the recipe's other way to say it
    kept: dict[str, dict[str, Any]] = {section: {} for section in classes}
    if own is not None and own.model.name == name:
        kept = {
            section: {each: getattr(getattr(own, section), each) for each in fields_of(cls)}
            for section, cls in classes.items()
        }
        if named["training"].get("epochs") is not None:
            kept["training"]["images"] = None  # as above
    built = {section: build_section(cls, kept[section] | named[section], section) for section, cls in classes.items()}
    return Configuration(**built, named=None if own is None else frozenset().union(*named.values()))


def settings_classes(model: str) -> dict[str, type]:
    """Return the settings class of each section of a configuration, for a zoo member.

    Raises:
        SettingError: If a setting of the model has the name of a data or training setting.
    """
    own: type = settings_class(model)
    shared: tuple[type, ...] = (DataSettings, TrainingSettings)
    for name in fields_of(own):
        free = not any(name in fields_of(cls) for cls in shared)
        require(free, "model", model, f"its setting {name!r} is a data or training setting too", "choose another name")
    return {"model": own, "data": DataSettings, "training": TrainingSettings}


def as_written(field: str) -> str:
    """Return a field's name as users write it: without the underscore that avoids a keyword of Python.

    >>> as_written("lambda_"), as_written("latent_dim")
    ('lambda', 'latent_dim')
    """
    return field.removesuffix("_")


def flag_for(field: str) -> str:
    """Return a field's flag.

    >>> flag_for("latent_dim"), flag_for("lambda_")
    ('--latent-dim', '--lambda')
    """
    return f"--{as_written(field).replace('_', '-')}"


def advice_of(settings: type, kind: type[Advice]) -> list[str]:
    """Return what to try with the settings that are marked as helping against something, with their flags."""
    found = {name: marks_of(settings, name, kind) for name in fields_of(settings)}
    return [marks[0].advice.format(flag=flag_for(name)) for name, marks in found.items() if marks]


def field_named(key: str, fields: Container[str]) -> str:
    """Return the field that users write as `key`; the key itself where there is none."""
    return f"{key}_" if key not in fields and f"{key}_" in fields else key


def build_section(cls: type, values: Mapping[str, Any], section: str) -> Any:
    """Build the settings of one section of a configuration from plain or TOML values.

    Raises:
        SettingError: If a key is unknown, or a value is of another type or breaks its rule.
    """
    hints, given = fields_of(cls), {}
    for key, value in values.items():
        field = field_named(key, hints)
        if field not in hints:
            raise SettingError(
                f"[{section}] {key} = {shown(value)}", rule=f"no such setting{nearest(key, map(as_written, hints))}"
            )
        number = (
            field == "size" and isinstance(value, int) and not isinstance(value, bool)
        )  # `size = 64` in a TOML file
        given[field] = typed(str(value) if number else _listed(value, hints[field]), hints[field], as_written(field))
    return cls(**given)


def _listed(value: Any, hint: Any) -> Any:
    """Return `"fd,kid"` as a list, as the command line reads it, where a list of words is asked for."""
    words = typing.get_origin(hint) is tuple and all(kind is str for kind in map(_kind, typing.get_args(hint)[:1]))
    return [word.strip() for word in value.split(",")] if words and isinstance(value, str) else value


def _kind(hint: Any) -> type:
    """Return the type of a word among choices; of another hint, itself."""
    return type(typing.get_args(hint)[0]) if typing.get_origin(hint) is Literal else hint


def _plain(settings: Any, roles: tuple[Role, ...]) -> dict[str, Any]:
    """Return the settings of some roles as TOML values, None left out."""
    values = {name: getattr(settings, name) for name in fields_with(type(settings), *roles)}
    return {as_written(k): list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}


def toml_of(content: Mapping[str, Any]) -> str:
    """Return a mapping as TOML text."""
    import tomli_w

    return tomli_w.dumps(dict(content))
