"""The model that a diagram is asked of: a run's, one by name, or one that is there already."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphospace.data.sizes import parse_size
from morphospace.errors import RunError, SettingError, nearest, require
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.runs.configuration import Configuration, recipes, resolve
from morphospace.runs.folder import RunFolder
from morphospace.runs.hub import local
from morphospace.runs.run import Run
from morphospace.zoo.settings import ZOO

CLASSES = tuple(map(str, range(10)))  # of a conditional model whose data are not known


def found_model(
    asked: str | Path | Run | Model, size: str, channels: int, settings: Mapping[str, Any]
) -> tuple[Model, str]:
    """Return a model and what to call it.

    Raises:
        SettingError: If it is none of a run, a model and a recipe.
        RunError: If the run cannot be opened, or has networks of the caller's own.
    """
    if isinstance(asked, Model):
        return asked, str(asked.settings.name)
    if isinstance(asked, Run):
        return asked.model, f"{asked.path.resolve().name} ({asked.model.settings.name})"
    path, name = local(asked), str(asked)
    if (path / "run.toml").exists():
        require(not settings, "settings", dict(settings), "belong to a model by name; a run has its own")
        return of_run(RunFolder.open(path))
    if name in ZOO:
        return of_settings(resolve(name, None, settings), size, channels), name
    if name in recipes() or path.suffix == ".toml":
        configuration = resolve(None, name, settings)
        return of_settings(configuration, size, channels), f"{path.stem} ({configuration.model.name})"
    close = difflib.get_close_matches(name, [*ZOO, *recipes()], n=1)
    way_out = "see `morpho models`, `morpho recipes` and `morpho runs`"
    rule = f"is neither a run's folder nor a model or recipe{nearest(name, close) if close else ''}"
    raise SettingError("model", name, rule, way_out)


def of_run(folder: RunFolder) -> tuple[Model, str]:
    """Return the model of a run with new weights: a diagram shows none.

    Raises:
        RunError: If the run was trained with the caller's own networks.
    """
    if own := folder.facts["custom"]:
        rule = f"was trained with the caller's own {' and '.join(own)}"
        way_out = "see diagram.svg in its folder, or give ms.diagram a run that was loaded with parts={...}"
        raise RunError("model", str(folder.path), rule, way_out)
    configuration = folder.configuration
    conditioning = Conditioning.of(configuration.condition, folder.facts["labels"], folder.facts["attributes"])
    model = configuration.model.build(folder.shape, None, conditioning)
    return model, f"{folder.path.resolve().name} ({configuration.model.name})"


def of_settings(configuration: Configuration, size: str, channels: int) -> Model:
    """Build a model by its settings; what the data would tell is taken from the settings of the data, else as given."""
    sides = parse_size(configuration.data.size or size)
    assert sides is not None
    shape = (*sides, configuration.data.channels or channels)
    wanted = configuration.condition
    attributes = [name.strip() for name in wanted.partition(":")[2].split(",")]
    return configuration.model.build(shape, None, Conditioning.of(wanted, CLASSES, attributes))
