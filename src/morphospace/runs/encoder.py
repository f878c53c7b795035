"""Encoders trained for runs that have none of their own, kept with the checkpoint whose generator they undo."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from morphospace.errors import RunError
from morphospace.files import atomic, json_text, write_text
from morphospace.latent.inverse import Fitted, GeneratorInverse
from morphospace.runs.checkpoints import load_tensors, save_tensors
from morphospace.runs.run import Run
from morphospace.training.precision import to_device
from morphospace.training.weights import load_weights


def encoder_file(run: Run) -> Path:
    """Return where what is said of an encoder trained for this checkpoint is kept; its weights lie beside it."""
    return run.checkpoint / f"encoder{'-raw' if run.raw else ''}.json"


def kept_encoder(run: Run) -> GeneratorInverse | None:
    """Return the encoder trained for a run's checkpoint, in evaluation mode; None where there is none."""
    file = encoder_file(run)
    if not file.is_file():
        return None
    return _opened(file, file.stat().st_mtime_ns, run.model.device)


@lru_cache(maxsize=4)
def _opened(file: Path, changed: int, device: torch.device) -> GeneratorInverse:
    """Read an encoder, once for as long as its file does not change: codes are asked for a block at a time."""
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        height, width, channels = about["shape"]
        shape = (int(height), int(width), int(channels))
        encoder = GeneratorInverse(shape, about["latent_dim"], about["widths"], about["told"])
        weights = file.with_suffix(".safetensors")
        if weights.stat().st_size != about["bytes"]:
            raise ValueError("its weights are of another size")
        load_weights(encoder, load_tensors(weights), "encoder")
    except (OSError, ValueError, KeyError, TypeError, RunError) as error:
        reason = " ".join(str(error).split())
        raise RunError("encoder", str(file), f"is broken ({reason})", "run `morpho train-encoder` again") from None
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
