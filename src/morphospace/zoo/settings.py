"""The settings of every model, in one place; free of torch, so that `--help` stays quick.

Each file `settings_*.py` beside this one is imported, so that its models are in `ZOO`. Its settings classes can be
imported from here too.
"""

# ruff: noqa: F401

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import morphospace.zoo
from morphospace.zoo.registry import ZOO, ModelSettings, settings_class
from morphospace.zoo.settings_gan import GANSettings

for _name in sorted(found.name for found in iter_modules(morphospace.zoo.__path__)):
    if _name.startswith("settings_"):
        _module = vars(import_module(f"morphospace.zoo.{_name}"))
        globals().update({name: value for name, value in _module.items() if name.endswith("Settings")})

# Lists name the autoencoders first, then the GANs.
ZOO.loaded = dict(sorted(ZOO.loaded.items(), key=lambda item: issubclass(item[1], GANSettings)))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
