"""Registries that a package outside this one can add to: models, data sources, metrics and tools.

An installed package names what it brings in its entry points (`morphospace.models`, `morphospace.sources`,
`morphospace.metrics`, `morphospace.tools`). Only these names are read at first; the package is imported when one of
them is asked for, or when all are listed. `plug` imports a module that the user passes (`--plugin MODULE`).
The name of a model or source in a file, such as a run's or a recipe's, imports nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from morphospace.errors import SettingError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

PASSED: set[str] = set()
"""Folders that modules are imported from, but in which no package is installed."""
BRING_IT = "if a package brings it, install the package or pass --plugin MODULE"


def built_in(module: str) -> bool:
    """Return whether a module is part of this package."""
    return module.partition(".")[0] == "morphospace"


class NotHere(SettingError):
    """A model, metric or tool that is not built in, and that no package here brings."""


class Registry(Mapping[str, T]):
    """Everything of one kind, by name: built in, or brought by a package.

    Iterating imports what installed packages bring. A package that cannot be imported is left out, with one warning.

    Args:
        kind: `model`, `source`, `metric` or `tool`; the group of its entry points is the plural.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.loaded: dict[str, T] = {}
        self._modules: dict[str, str] = {}  # where each is defined, by name
        self._refused: list[str] = []
        self._warnings: set[str] = set()

    def register(self, name: str, thing: T, module: str) -> None:
        """Add `thing`, defined in `module`.

        A module may replace its own, as a notebook's cell does that is run again. A name that another module has taken
        is refused with a warning; the name of a built-in always is.
        """
        owner = self._modules.get(name, module)
        if owner == module or built_in(module):
            self.loaded[name], self._modules[name] = thing, module
        if owner != module:
            self._refuse(name, *((owner, module) if built_in(module) else (module, owner)))
            self.warn_of_refused()

    def reserve(self, names: Iterable[str]) -> None:
        """Keep names for built-ins that are not registered here."""
        self._modules.update(dict.fromkeys(names, __name__))

    @cached_property
    def installed(self) -> dict[str, EntryPoint]:
        """The entry points of installed packages, by name; reading them imports no package."""
        from importlib.metadata import distributions

        folders = [folder for folder in sys.path if folder not in PASSED]
        found: dict[str, EntryPoint] = {}
        for package in distributions(path=folders):
            for entry in package.entry_points.select(group=f"morphospace.{self.kind}s"):
                if built_in(self._modules.get(entry.name, "")):
                    self._refuse(entry.name, _package(entry), __name__)
                elif _package(found.setdefault(entry.name, entry)) != _package(entry):
                    self._refuse(entry.name, _package(entry), _package(found[entry.name]))
        return found

    def warn_of_refused(self) -> None:
        """Warn of the packages that bring a name which another has."""
        for line in self._refused:
            self._warn(line)

    def origin(self, name: str) -> str:
        """Return the package or module that brings `name`; imports nothing."""
        return self._modules[name] if name in self._modules else _package(self.installed[name])

    def load(self, names: Iterable[str]) -> None:
        """Import the packages that bring any of the names; a failure is reported when the name is asked for."""
        for name in names:
            with suppress(NotHere):
                self.get(name)

    def __getitem__(self, name: str) -> T:
        if name not in self.loaded and name in self.installed:
            self._import(name)
        return self.loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.loaded or name in self.installed

    def __iter__(self) -> Iterator[str]:
        for name in self.installed:
            if name not in self.loaded:
                try:
                    self._import(name)
                except NotHere as error:
                    self._warn(str(error))
        self.warn_of_refused()
        return iter(list(self.loaded))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _import(self, name: str) -> None:
        """Import the module that an entry point names."""
        entry = self.installed[name]
        package, way_out = _package(entry), "update or uninstall the package"
        try:
            import_module(entry.module)
        except (Exception, SystemExit) as error:
            raise NotHere(self.kind, name, f"{package} cannot be imported ({_reason(error)})", way_out) from error
        if name not in self.loaded:
            raise NotHere(self.kind, name, f"{entry.module} of {package} registers none of that name", way_out)

    def _refuse(self, name: str, refused: str, kept: str) -> None:
        owner = "a built-in" if built_in(kept) else kept
        self._refused.append(f"{self.kind} = {name!r}: the one of {refused} is left out, because {owner} has that name")

    def _warn(self, line: str) -> None:
        """Print a warning in one line on standard error, once."""
        if line not in self._warnings:
            import logging  # the help, which warns of nothing, does not wait for it

            self._warnings.add(line)
            logging.getLogger("morphospace").warning("warning: %s", line)


def plug(module: str) -> None:
    """Import a module of the user's by its name, as `my_model` or `my_package.model`; it may lie in this folder.

    Raises:
        SettingError: If it cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
        PASSED.add(here)
    try:
        import_module(module)
    except (Exception, SystemExit) as error:
        way_out = "give the name of a module in this folder or of an installed one, as my_package.model"
        raise SettingError("--plugin", module, f"cannot be imported ({_reason(error)})", way_out) from error


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist else entry.module


def _reason(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:300]} ..."
