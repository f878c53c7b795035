from __future__ import annotations

import inspect
import typing
from importlib import import_module
from typing import get_args

import pytest
from cyclopts import Parameter

from morphospace.cli.app import TOOLS
from morphospace.cli.flags import split_lists
from morphospace.cli.training import model_of, train_command
from morphospace.cli.verbs import command_for
from morphospace.data.settings import DataSettings
from morphospace.errors import SettingError
from morphospace.ranges import check_ranges
from morphospace.records import documentation, fields_of
from morphospace.runs.configuration import flag_for
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.settings import ZOO

from .conftest import Morpho

CLASSES = [*ZOO.values(), DataSettings, TrainingSettings]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_is_documented(cls: type) -> None:
    told = documentation(cls)
    assert set(told) == set(fields_of(cls))
    assert all(len(line) > 10 for line in told.values())


def test_a_subclass_says_it_better() -> None:
    class Base:
        """Base.

        Attributes:
            a: First line,
                and its second.
            b: Old words.
        """

    class Child(Base):
        """Child.

        Attributes:
            b: New words: better.

        Raises:
            Nothing: At all.
        """

    assert documentation(Child) == {"a": "First line, and its second.", "b": "New words: better."}


@pytest.mark.parametrize("name", ZOO)
def test_field_names_are_unique_over_sections(name: str) -> None:
    """A flag has no section: the same word twice would be two settings."""
    names = [field for cls in (ZOO[name], DataSettings, TrainingSettings) for field in fields_of(cls)]
    assert sorted(names) == sorted(set(names))
    assert not {"out", "recipe", "start_from", "from", "dry_run", "json", "talk", "model"} & set(names)


@pytest.mark.parametrize("name", ZOO)
def test_every_field_is_a_flag_that_means_not_given(name: str) -> None:
    parameters = inspect.signature(train_command([name])[0]).parameters
    for cls in (ZOO[name], DataSettings, TrainingSettings):
        for field in fields_of(cls):
            assert parameters[field].default is None
            assert type(None) in typing.get_args(typing.get_args(parameters[field].annotation)[0])


@pytest.mark.parametrize("name", ZOO)
def test_help_lists_every_flag_whole(morpho: Morpho, name: str) -> None:
    said = morpho("train", name, "--help")
    assert said.code == 0
    for cls in (ZOO[name], DataSettings, TrainingSettings):
        for field in fields_of(cls):
            assert f"{flag_for(field)} " in said.out, field
    for heading in ("Model", "Data", "Training"):
        assert f"─ {heading} ─" in said.out
    assert "[default: 2000]" in said.out and "[from 2 to 100,000]" in said.out


def test_help_of_train_lists_the_models(morpho: Morpho) -> None:
    said = morpho("train", "--help")
    assert said.code == 0
    assert all(f"\n{name}: " in said.out for name in ZOO)


def test_lists_are_split_by_commas_or_spaces() -> None:
    whole = ["train", "vae", "--widths", "32", "64", "--out", "a,b"]
    assert split_lists(["train", "vae", "--widths", "32,64", "--out", "a,b"]) == whole
    assert split_lists(["train", "vae", "--widths=32,64", "--out", "a,b"]) == whole
    assert split_lists(whole) == whole


def test_the_model_is_found_wherever_it_stands() -> None:
    assert model_of(["vae", "--out", "x"]) == "vae"
    assert model_of(["--out", "vae", "--recipe", "mnist-dcgan"]) == "dcgan"
    assert model_of(["--recipe=mnist-vae", "--out", "dcgan"]) == "vae"
    assert model_of(["--data", "digits", "ae"]) == "ae"
    assert model_of(["--strict", "ae"]) == "ae"
    assert model_of(["--help"]) is None
    with pytest.raises(SettingError, match="did you mean 'vae'"):
        model_of(["vea"])


def test_numbers(morpho: Morpho) -> None:
    said = morpho("train", "vae", "--images", "1e3", "--dry-run", "--json")
    assert said.json["training"]["images"] == 1000
    said = morpho("train", "vae", "--images", "60_000", "--no-strict", "--signed", "--likelihood", "gaussian",
                  "--betas", "0.5,0.9", "--dry-run", "--json")  # fmt: skip
    assert said.json["training"]["images"] == 60_000
    assert said.json["model"]["betas"] == [0.5, 0.9]
    assert (said.json["model"]["signed"], said.json["data"]["strict"]) == (True, False)


@pytest.mark.parametrize("verb", TOOLS)
def test_a_tool_declares_each_flag_once_and_defaults_within_their_ranges(verb: str) -> None:
    module, _, name = TOOLS[verb][0].partition(":")
    function = getattr(import_module(f"morphospace.tools.{module}"), name)
    flags: list[str] = []
    for parameter in inspect.signature(command_for(function)).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            about = [mark for mark in get_args(parameter.annotation)[1:] if isinstance(mark, Parameter)]
            named = next((mark.name for mark in about if mark.name), ())
            flags += named or [f"--{parameter.name.replace('_', '-')}"]
    assert sorted(flags) == sorted(set(flags))
    own = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    defaults = {**own, **function.declared.defaults}
    check_ranges(function, {name: value for name, value in defaults.items() if value not in (inspect._empty, None)})
