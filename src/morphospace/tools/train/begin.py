"""Where a run begins: with whose weights, and never behind what it has done."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from morphospace.data.augment import binarised
from morphospace.data.batches import held_out
from morphospace.data.pack import Pack
from morphospace.errors import RunError, require
from morphospace.models.contract import Model
from morphospace.runs.codes import choose_rows
from morphospace.runs.configuration import DataSettings
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import load
from morphospace.training.engine import Engine
from morphospace.training.events import State
from morphospace.training.weights import load_weights

LOOKED_AT, VALUES = 10_000, 1 << 24  # most training images, and most numbers, that a new model's start is chosen by


def take_weights(model: Model, source: Path) -> None:
    """Copy the weights of a finished run into a new model.

    Raises:
        RunError: They do not fit.
    """
    run = load(source)
    try:
        load_weights(model.networks, run.model.networks.state_dict(), "model")
    except RunError as error:
        raise RunError("from", str(source), f"its weights do not fit the model to train ({error})") from error


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
    require(not (changed and engine.settings.exact), "exact", True, rule, "continue as before, or without --exact")
    if changed:
        say(f"continues with {changed}: the weights will not be those of an uninterrupted run, byte for byte")


def check_length(engine: Engine) -> None:
    """Refuse an end that lies behind.

    Raises:
        RunError: The run is longer already.
    """
    done, total = engine.clock.images, engine.total_images
    if done - total >= engine.images_per_step:
        raise RunError("images", total, f"the run has seen {done:,} already", "give more, or leave its length as it is")
