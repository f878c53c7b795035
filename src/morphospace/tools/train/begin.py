"""Where a run begins: with whose weights, and never behind what it has done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphospace.data.augment import binarised
from morphospace.data.batches import held_out
from morphospace.data.pack import Pack
from morphospace.data.settings import DataSettings
from morphospace.errors import MorphospaceError, RunError, require
from morphospace.models.contract import Model
from morphospace.roles import Role, fields_with
from morphospace.runs.codes import choose_rows
from morphospace.runs.configuration import as_written
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import Run, load
from morphospace.tools.evaluate.extractors import learned_network
from morphospace.training.engine import Engine
from morphospace.training.events import State
from morphospace.training.weights import load_weights
from morphospace.zoo.settings import ModelSettings

Say = Callable[[str], None]
CLASSES, CONDITIONS = "classes", "conditions"

LOOKED_AT, VALUES = 10_000, 1 << 24  # most training images, and most numbers, that a new model's start is chosen by


def take_weights(model: Model, source: Path, *, new_layers: bool = False, say: Say = lambda line: None) -> None:
    """Copy the weights of a finished run into a new model.

    Args:
        model: The new model.
        source: The run's folder.
        new_layers: Let layers whose sizes differ begin anew; without it they are refused.
        say: Takes a line for the user.

    Raises:
        RunError: They do not fit, or none of them does.
    """
    run = load(source)
    own, theirs = model.networks.state_dict(), run.model.networks.state_dict()
    fitting = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
    if len(fitting) == len(own) == len(theirs):
        load_weights(model.networks, theirs, "model")
        if run.model.conditioning and model.conditioning and run.model.conditioning.names != model.conditioning.names:
            names = (_listed(run.model.conditioning.names), _listed(model.conditioning.names))
            say(f"from {source}: its conditions were {names[0]}, here {names[1]}; each takes the weights of its place")
        return
    differ = differences(run, model)
    if not new_layers or not any(own[name].ndim > 1 for name in fitting):
        which = "no layer fits" if new_layers else "its weights do not fit"
        rule = f"{which} the model to train ({'; '.join(map(str, differ)) or 'its layers have other names'})"
        raise RunError("from", str(source), rule, _way_out(differ, new_layers))
    load_weights(model.networks, {**own, **fitting}, "model")
    anew = dict.fromkeys(name.rpartition(".")[0] for name in own if name not in fitting)
    total = dict.fromkeys(name.rpartition(".")[0] for name in own)
    say(f"from {source}: {len(total) - len(anew)} of {len(total)} layers; these begin anew: {_listed(tuple(anew))}")


@dataclass(frozen=True)
class Difference:
    """One thing by which the model of an earlier run differs from the one to train.

    Attributes:
        what: Its name in words.
        before: Its value there.
        now: Its value here.
        flag: How to ask for the earlier value; empty where no flag does.
    """

    what: str
    before: str
    now: str
    flag: str = ""

    def __str__(self) -> str:
        return f"{self.what}: there {self.before}, here {self.now}"


def differences(run: Run, model: Model) -> list[Difference]:
    """Return in a person's words what makes a model's networks others than those of a run."""
    before, now = run.configuration.model, model.settings
    if before.name != now.name:
        return [Difference("model", before.name, now.name)]
    found: list[Difference] = []
    (height, width, channels), own = run.model.shape, model.shape
    size = f"{height}x{width}"
    if (height, width) != own[:2]:
        found.append(Difference("size of the images", size, f"{own[0]}x{own[1]}", f"--size {size}"))
    if channels != own[2]:
        found.append(Difference("channels", str(channels), str(own[2]), f"--channels {channels}"))
    names = [() if each.conditioning is None else each.conditioning.names for each in (run.model, model)]
    if len(names[0]) != len(names[1]):
        kind = CLASSES if "label" in (run.configuration.condition, getattr(now, "condition", "")) else CONDITIONS
        found.append(Difference(kind, *(f"{len(each)} ({_listed(each)})" for each in names)))
    sizes = _sizes(now, model)
    for field in fields_with(type(now), Role.OBJECTIVE, Role.FIT):
        there, here = getattr(before, field), getattr(now, field)
        if there != here and _sizes(now, model, **{field: there}) not in (None, sizes):
            flag = "" if there is None or isinstance(there, bool) else f"--{as_written(field).replace('_', '-')} "
            found.append(Difference(as_written(field), _text(there), _text(here), flag and flag + _text(there)))
    return found


def _sizes(settings: ModelSettings, like: Model, **changes: Any) -> dict[str, Any] | None:
    """Return the shape of each weight that a model of these settings has; None where it cannot be built."""
    try:
        with torch.device("meta"):
            built = replace(settings, **changes).build(like.shape, None, like.conditioning)
    except MorphospaceError:
        return None
    return {name: value.shape for name, value in built.networks.state_dict().items()}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    return f"{', '.join(names[:most]) or 'none'}{', ...' if len(names) > most else ''}"


def _way_out(differ: Sequence[Difference], new_layers: bool) -> str:
    """Return how to go on: with what the earlier run had, or with new layers."""
    flags = " ".join(one.flag for one in differ if one.flag)
    ways = [f"give {flags}"] if flags else []
    ways += [f"give images with the same {one.what}" for one in differ if one.what in (CLASSES, CONDITIONS)]
    ways = [" and ".join(ways)] if ways else ["begin from a run of this kind"]
    return ", or ".join([*ways, *([] if new_layers else ["let the layers that differ begin anew with --new-layers"])])


def begin_at_data(model: Model, pack: Pack, data: DataSettings) -> None:
    """Let a new model begin according to its training images, of which as many are looked at as memory allows."""
    (split, trained), _ = held_out(pack, data.valid)
    most = max(1, min(LOOKED_AT, VALUES // math.prod(pack.shape)))
    rows = choose_rows(trained, most, 0, "start")
    images = binarised(np.asarray(split.images[rows]), data.binarise, rows)
    masks = None
    if split.masks is not None and "masks" in model.needs:
        masks = torch.from_numpy(np.asarray(split.masks[rows]).max(3)[:, None]).to(model.dtype)
    model.start_from(model.from_uint8(torch.from_numpy(images)), masks)


def learn_features(model: Model, pack: Pack, say: Say) -> None:
    """Give a new model that compares images by features the network for them: that of an autoencoder of its data.

    It is the one that `morpho evaluate --features autoencoder` uses, trained once for a data set and kept in the cache.
    """
    if "features" in model.memory:
        model.memory["features"].load_state_dict(learned_network("autoencoder", pack, say).trunk.state_dict())


def begun_from(existing: RunFolder | None, start_from: Path | None) -> Path | None:
    """Return the run whose weights a run begins with; one that is there already says it itself.

    Raises:
        RunError: It began otherwise than it is asked to.
    """
    if existing is None:
        return None if start_from is None else start_from.resolve()
    before = str(existing.facts.get("start_from", ""))
    if start_from is not None and str(start_from.resolve()) != before:
        how = f"from {before!r}" if before else "from new weights"
        where = f"the run in {str(existing.path)!r} began {how}"
        raise RunError("from", str(start_from), where, "leave it out, or choose another path")
    return Path(before) if before else None


def check_exact(engine: Engine, saved: State, say: Callable[[str], None]) -> None:
    """Say what differs from the conditions of a checkpoint, if the weights to come will then differ in bytes.

    Raises:
        SettingError: If something differs, and the settings ask for the exact weights.
    """
    changed = ", ".join(engine.changed(saved))
    rule = f"{changed}: the weights would not be those of an uninterrupted run, byte for byte"
    require(not (changed and engine.settings.exact), "exact", True, rule, "continue as before, or with --no-exact")
    if changed:
        say(f"continues with {changed}: the weights will not be those of an uninterrupted run, byte for byte")


def check_length(done: int, total: int, images_per_step: int) -> None:
    """Refuse an end that lies behind.

    Args:
        done: Images that the run has seen.
        total: How many it is to see.
        images_per_step: How many it sees in a step.

    Raises:
        RunError: The run is longer already.
    """
    if done - total >= images_per_step:
        raise RunError("images", total, f"the run has seen {done:,} already", "give more, or leave its length as it is")
