"""Checkpoints: tensors and JSON, never code, whole or not there at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from morphospace.errors import RunError
from morphospace.files import atomic, sync_folder, write_text, writing
from morphospace.training.events import State


def save_checkpoint(folder: Path, state: State, *, best: bool, keep: int) -> Path:
    """Write a checkpoint into `folder`, move `last` (and `best`) to it, and drop what is too old.

    It is written beside, synced, and renamed: a kill at any moment leaves the ones before as they were.

    Args:
        folder: The run's `checkpoints`.
        state: What to save.
        best: Whether `best` names it from now on.
        keep: How many of the latest stay.
    """
    images = int(state.numbers["images"])  # type: ignore[call-overload]
    final, partial = folder / f"{images:012d}", folder / f".partial-{os.getpid()}"
    with writing(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            for name, tensors in state.tensors.items():
                save_tensors(partial / f"{name}.safetensors", tensors)
            sizes = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
            record = {**state.numbers, "files": sizes}
            (partial / "state.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            for file in partial.iterdir():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(folder)
    # A kill between the two leaves a run that goes on from the checkpoint before, and finds the best one again.
    if best:
        write_text(folder / "best", final.name)
    write_text(folder / "last", final.name)
    prune(folder, keep)
    return final


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Write named tensors, and what is known of them, as safetensors, which knows one layout only."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata=about)
    except SafetensorError as error:
        raise OSError(str(error)) from error  # its own wrapping of, say, a full disk


def prune(folder: Path, keep: int) -> None:
    """Remove all but the latest `keep` checkpoints and the best one."""
    best = folder / "best"
    spared = {best.read_text(encoding="utf-8")} if best.is_file() else set()
    whole = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
    for old in whole[:-keep]:
        if old.name not in spared:
            shutil.rmtree(old, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for partial in folder.glob(".*partial-*"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def pointed(folder: Path, which: str) -> Path | None:
    """Return the checkpoint that `which` means: `last`, `best`, or a number of images; None where there is none.

    Raises:
        RunError: It is named but not there.
    """
    number = which.isascii() and which.isdigit()
    if not number and which not in ("last", "best"):
        raise RunError("checkpoint", which, "must be 'last', 'best' or a number of images")
    if number:
        named = f"{int(which):012d}"
    elif not (folder / which).is_file():
        return None
    else:
        named = (folder / which).read_text(encoding="utf-8", errors="replace").strip()
    if not named.isdigit() or not (folder / named / "state.json").is_file():
        there = ", ".join(sorted(str(int(p.name)) for p in folder.glob("[0-9]*"))) or "none"
        raise RunError("checkpoint", which, f"not in {folder} (there: {there})")
    return folder / named


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        RunError: It is missing, cut short, or something else, a pickle for instance.
    """
    if not path.is_file():
        raise RunError("checkpoint", str(path), "the file is missing", "take another checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise RunError(
            "checkpoint",
            str(path),
            f"not a whole safetensors file ({error})",
            "cut short, or another format such as a pickle, which is never opened",
        ) from error


def load_checkpoint(path: Path) -> State:
    """Read a checkpoint folder.

    Raises:
        RunError: A file is missing, cut short or not what it should be.
    """
    try:
        numbers: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        sizes = numbers.pop("files")
    except (OSError, ValueError, KeyError) as error:
        raise RunError("checkpoint", str(path), f"state.json is missing or broken ({error})") from error
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, size in sizes.items():
        file = path / name
        if file.is_file() and file.stat().st_size != size:
            there = file.stat().st_size
            raise RunError(
                "checkpoint", str(file), f"has {there} bytes, must have {size}", "it was cut short or changed"
            )
        tensors[name.removesuffix(".safetensors")] = load_tensors(file)
    return State(tensors, numbers)


def save_vectors(path: Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and what is known of them, whole or not at all.

    Args:
        path: A .safetensors.
        kind: What they are: `components` or `direction`.
        tensors: By name.
        facts: What JSON can say.
    """
    with atomic(path) as partial:
        save_tensors(partial, tensors, {"kind": kind, "facts": json.dumps(dict(facts))})


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
