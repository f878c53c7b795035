"""Refuses settings that do not suit the model or the images to train on."""

from __future__ import annotations

from typing import cast

from morphospace.data.pack import Pack
from morphospace.errors import SettingError, require
from morphospace.models.contract import Model
from morphospace.objectives.phase import Trainable, phases_of
from morphospace.training.distributed import World
from morphospace.training.selection import LOSS
from morphospace.training.settings import TrainingSettings
from morphospace.zoo.vae import Variational


def check_needs(model: Model, pack: Pack) -> None:
    """Refuse data that lack what the model learns from.

    Raises:
        SettingError: The training images have no masks, for instance.
    """
    for kind in model.needs:
        if getattr(pack.split("train"), kind) is None:
            name = model.settings.name
            raise SettingError("data", pack.name, f"has no {kind}, which {name} learns from", "take data that have")


def check_packing(model: Model, batch_size: int, world: World) -> None:
    """Refuse batches that cannot be judged by so many images at once.

    Raises:
        SettingError: A process's share of a batch does not divide by the packing.
    """
    packing, share = getattr(model.settings, "packing", 1), batch_size // world.size
    why = f"the {share} images of a batch do not divide by it; take a --batch-size that does"
    require(share % packing == 0, "packing", packing, why)


def check_collapses(model: Model, threshold: float) -> None:
    """Refuse to watch the KL of a model that has none.

    Raises:
        SettingError: The model is no VAE.
    """
    name = model.settings.name
    why = f"{name} has no KL that could collapse; leave it out"
    require(not threshold or isinstance(model, Variational), "stop_on_collapse", threshold, why)


def turns_of(model: Model) -> int:
    """Return how many batches a step takes."""
    return max(phase.turns for phase in phases_of(cast(Trainable, model)))


def check_patience(s: TrainingSettings, model: Model, *, held_out: bool) -> None:
    """Refuse to wait for a better loss on held-out images where there is none.

    Raises:
        SettingError: The model has no such loss, or no images are held out.
    """
    judging = any(phase.validates for phase in phases_of(cast(Trainable, model)))
    if s.patience and s.best == LOSS and not (held_out and judging):
        why = "no images are held out; add --valid 0.05" if judging else "the model has no loss on held-out images"
        raise SettingError("patience", s.patience, f"{why}{('' if judging else '; choose by a metric, as --best fd')}")
