"""Encoders trained for runs that have none of their own, kept with the checkpoint whose generator they undo."""

from __future__ import annotations

import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import torch

from morphospace.data.pack import Side
from morphospace.errors import RunError, one_line
from morphospace.files import atomic, json_text, read_bytes, write_text
from morphospace.latent.inverse import Fitted, GeneratorInverse
from morphospace.ranges import Between
from morphospace.records import read_json, typed
from morphospace.runs.checkpoints import MOST_STATE, check_fits, load_tensors, save_tensors
from morphospace.runs.run import Run
from morphospace.training.precision import to_device
from morphospace.training.weights import load_weights, shapes_of


class About(TypedDict):
    """encoder.json, of which more is only told."""

    shape: tuple[Side, Side, Literal[1, 3]]
    latent_dim: Annotated[int, Between(1, 65_536)]
    widths: list[Annotated[int, Between(1, 65_536)]]
    told: Annotated[int, Between(0, 65_536)]
    bytes: Annotated[int, Between(0, 2**63 - 1)]


def encoder_file(run: Run) -> Path:
    """Return where what is said of an encoder trained for this checkpoint is kept; its weights lie beside it."""
    return run.checkpoint / f"encoder{'-raw' if run.raw else ''}.json"


def kept_encoder(run: Run) -> GeneratorInverse | None:
    """Return the encoder trained for a run's checkpoint, in evaluation mode; None where there is none."""
    file = encoder_file(run)
    if not file.exists():
        return None
    return _opened(file, file.stat().st_mtime_ns, run.model.device)


@lru_cache(maxsize=4)
def _opened(file: Path, changed: int, device: torch.device) -> GeneratorInverse:
    """Read an encoder, once for as long as its file does not change: codes are asked for a block at a time."""
    try:
        about = typed(read_json(read_bytes(file, MOST_STATE)), About, "encoder")
        weights = file.with_suffix(".safetensors")
        if weights.stat().st_size != about["bytes"]:
            raise ValueError("its weights are of another size")
        build = partial(GeneratorInverse, about["shape"], about["latent_dim"], about["widths"], about["told"])
        with torch.device("meta"):
            wanted = shapes_of(build())
        check_fits(weights, wanted)
        encoder = build()
        load_weights(encoder, load_tensors(weights), "encoder")
    except (OSError, ValueError) as error:
        raise RunError(
            "encoder", str(file), f"is broken ({one_line(error)})", "run `morpho train-encoder` again"
        ) from None
    to_device(encoder, device)
    return encoder.eval()


def check_place(run: Run) -> None:
    """Refuse a run that nothing can be kept with, before minutes are spent.

    Raises:
        RunError: Its checkpoint cannot be written to.
    """
    if not os.access(run.checkpoint, os.W_OK | os.X_OK):
        raise RunError(
            "run", str(run.path), f"{str(run.checkpoint)!r} cannot be written to", "copy the run to a folder of yours"
        )


def keep_encoder(run: Run, encoder: GeneratorInverse, fitted: Fitted, about: dict[str, Any]) -> None:
    """Keep an encoder with the run: weights first, then what is said of them, without which there is no encoder."""
    file = encoder_file(run)
    with atomic(file.with_suffix(".safetensors")) as partial:
        save_tensors(partial, encoder.state_dict())
        size = partial.stat().st_size
    said = {
        "shape": list(run.model.shape),
        "latent_dim": run.model.latent_dim,
        "widths": list(encoder.widths),
        "told": encoder.conditions,
        "bytes": size,
        "images": fitted.images,
        "cosine": fitted.cosine,
        "mse": fitted.mse,
        **about,
    }
    write_text(file, json_text(said, indent=1) + "\n")
