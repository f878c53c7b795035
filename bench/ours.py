"""Our side: the recipe, set up as `morphospace.train` sets it up, stepped by the released engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench.cases import Case
from morphospace.data.batches import Batches, held_out
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.models.conditioning import Conditioning
from morphospace.models.contract import Model
from morphospace.randomness import stream
from morphospace.runs.configuration import Configuration, resolve
from morphospace.training.engine import Engine
from morphospace.training.precision import (
    choose_device,
    choose_precision,
    choose_repeatable,
    keep_freed_blocks,
    to_device,
)
from morphospace.training.products import faster_as_products

__all__ = ["engine_of", "make_engine", "last_losses"]


def make_engine(case: Case, folder: Path, precision: str, steps: int) -> tuple[Model, Engine]:
    """Set a case up on the CPU.

    Args:
        case: What to train.
        folder: Where the images are.
        precision: As in the training settings.
        steps: Length of the run, for schedules.
    """
    overrides = {"batch_size": case.batch, "precision": precision, "device": "cpu"}
    configuration = resolve(recipe=case.recipe, overrides=overrides)
    # Mapped rather than read, as a pack on disk is.
    pack = in_memory_pack(case.pack, Split(np.load(folder / f"{case.pack}.npy", mmap_mode="r")))
    return engine_of(configuration, pack, steps)


def engine_of(configuration: Configuration, pack: Pack, steps: int) -> tuple[Model, Engine]:
    """Set a configuration up as `morphospace.train` does, without a run folder and its listeners.

    Args:
        configuration: What to train; its batch size is a number.
        pack: The images.
        steps: Length of the run, for schedules.
    """
    s = configuration.training
    assert s.batch_size is not None
    keep_freed_blocks()
    device = choose_device(s.device)
    choose_repeatable(device)
    torch.manual_seed(stream(s.seed, "weights"))
    model = configuration.model.build(pack.shape, None, Conditioning.for_pack(configuration.condition, pack))
    to_device(model.networks, device)
    model.memory.to(device)
    (split, rows), _ = held_out(pack, configuration.data.valid)
    batches = Batches(
        split,
        rows=rows,
        batch_size=s.batch_size,
        seed=s.seed,
        device=device,
        signed=model.signed,
        resident=s.resident,
    )
    engine = Engine(
        model,  # type: ignore[arg-type]
        batches,
        s,
        total_images=steps * s.batch_size,
        precision=choose_precision(s.precision, device),
        ema_halflife_images=model.default_ema_halflife_images
        if s.ema_halflife_images is None
        else s.ema_halflife_images,
    )
    if s.products and device.type == "cpu":
        engine.use_products(list(faster_as_products(model, s.batch_size, engine.precision)))
    model.networks.train()
    return model, engine


def last_losses(engine: Engine, steps: int) -> dict[str, float]:
    """Return every player's loss, averaged over the last steps."""
    return {
        name.removesuffix("/loss"): float(torch.stack(values[-steps:]).float().mean())
        for name, values in engine.sums.items()
        if name.endswith("/loss")
    }
