"""Vectors of a run's space with what they mean: tensors and JSON in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from morphospace.errors import RunError
from morphospace.files import atomic


def save_vectors(path: Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and what is known of them, whole or not at all.

    Args:
        path: A .safetensors.
        kind: What they are: `components` or `direction`.
        tensors: By name.
        facts: What JSON can say.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as partial:
        try:
            save_file(plain, partial, metadata={"kind": kind, "facts": json.dumps(dict(facts))})
        except SafetensorError as error:
            raise OSError(str(error)) from error  # its own wrapping of, say, a full disk


def load_vectors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_vectors` wrote: tensors and facts.

    Raises:
        RunError: It is missing, or something else.
    """
    if not path.is_file():
        raise RunError("path", str(path), "no such file", "save one with `--save`")
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if about.get("kind") != kind:
            raise RunError("path", str(path), f"holds {about.get('kind', 'other tensors')}, not {kind}", "take another")
        facts: dict[str, Any] = json.loads(about["facts"])
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError("path", str(path), f"not a whole safetensors file of ours ({error})", "save it again") from error
    return tensors, facts
