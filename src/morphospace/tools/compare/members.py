"""A run as a comparison shows it: its settings, cost and pictures, or why it has none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from morphospace.data.pack import Pack
from morphospace.errors import MorphospaceError, NoEncoder, SettingError
from morphospace.files import without_folders
from morphospace.objectives import adversarial
from morphospace.pictures.maps import LatentMap
from morphospace.runs.checkpoints import state_of
from morphospace.runs.folder import RunFolder, last_values
from morphospace.runs.run import Run, load
from morphospace.tools.compare.comparison import Cost, Member
from morphospace.tools.map import latent_map
from morphospace.tools.sample import Reconstructions, reconstruct, sample

SHOWN, MAPPED = 10, 1000


def settings_of(folder: RunFolder) -> dict[str, Any]:
    """Return the settings that make a run what it is, by name; of a path only its last part."""
    sections = folder.configuration.described()
    flat = {k: v for section in sections.values() for k, v in section.items() if k != "name"}
    known = {"model": folder.configuration.model.name, "data": data_name(folder)}
    return {**known, **flat, "torch": str(folder.facts.get("versions", {}).get("torch", ""))}


def data_name(folder: RunFolder) -> str:
    """Return the name of the data, without the folder in the names of some sources."""
    return Path(str(folder.facts.get("data", folder.configuration.data.data)).partition(":")[0]).name


@dataclass
class Looks:
    """The pictures of a run, or why there are none.

    Attributes:
        samples: uint8 (N, H, W, C), or why there are none.
        rebuilt: Likewise, reconstructions.
        originals: The images that were reconstructed, and their split; None where there are none.
        latent: The latent map, or why there is none.
    """

    samples: np.ndarray | str
    rebuilt: np.ndarray | str
    originals: tuple[np.ndarray, str] | None = field(default=None)
    latent: LatentMap | str = ""


def run_of(folder: RunFolder, device: str, data: Pack | None) -> Run | str:
    """Return the run, or why it cannot be loaded."""
    try:
        run = load(folder.place, device=device)
    except SettingError:  # a wrong device is not the fault of one run
        raise
    except MorphospaceError as error:
        return because(error)
    if data is not None:
        run.with_images(data)
    return run


def because(error: MorphospaceError) -> str:
    """Return why something is missing from the page, without the folders of this machine.

    The run's own path is left out, because its row on the page names the run.
    """
    said = error.reason if error.name in ("run", "metrics") else str(error)
    return str(without_folders(" ".join(said.split())))


def _try(make: Callable[[], Any]) -> Any:
    """Return the result of a call, or why it failed."""
    try:
        return make()
    except NoEncoder:
        return "no encoder"
    except MorphospaceError as error:
        return because(error)


def _reconstructions(run: Run) -> Reconstructions:
    """Return the reconstructions to show; a single one where fewer images are held out than the page shows."""
    try:
        return reconstruct(run, SHOWN)
    except SettingError as error:
        if error.name != "n":
            raise
        return reconstruct(run, 1)


def looks_of(run: Run | str, seed: int) -> Looks:
    """Return the pictures of a run."""
    if isinstance(run, str):
        return Looks(run, run, None, run)
    made = _try(lambda: _reconstructions(run))
    rebuilt, originals = (made, None) if isinstance(made, str) else (made.images, (made.originals, made.split))
    latent = _try(lambda: latent_map(run, MAPPED, seed=seed))
    return Looks(_try(lambda: sample(run, SHOWN, seed)), rebuilt, originals, latent)


def key_of(images: np.ndarray) -> str:
    return hashlib.blake2b(f"{images.shape}".encode() + images.tobytes(), digest_size=8).hexdigest()


def member_of(folder: RunFolder, run: Run | str, name: str, row: int, looks: Looks, key: str, pictured: bool) -> Member:
    """Return everything that the page says about a run."""
    log, model = folder.read_metrics(), None if isinstance(run, str) else run.model
    last = last_values(log)
    counts = (
        None if model is None else {k: sum(p.numel() for p in net.parameters()) for k, net in model.networks.items()}
    )
    computed = _computed(run)
    cost = Cost(
        counts,
        int(last.get("images", 0)),
        float(last.get("seconds") or 0.0),
        float(last.get("epoch") or 0.0),
        str(computed.get("precision", "")),
        _machine(computed),
    )
    return Member(
        name=name,
        row=row,
        model=folder.configuration.model.name,
        data=data_name(folder),
        data_hash=str(folder.facts.get("data_hash", "")),
        shape=folder.shape,
        latent_dim=folder.configuration.model.code_length(folder.shape),
        condition=model is not None and model.conditioning is not None,
        settings=settings_of(folder),
        adversary=_adversary(model),
        log=log,
        cost=cost,
        taken=None if isinstance(run, str) else run.images,
        samples=looks.samples,
        rebuilt=looks.rebuilt,
        of_images=key,
        latent=looks.latent,
        pictured=pictured,
    )


def _computed(run: Run | str) -> dict[str, Any]:
    """Return the machine and precision that the run's checkpoint names, where it does."""
    return {} if isinstance(run, str) else state_of(run.checkpoint)


def _machine(state: Mapping[str, Any]) -> str:
    """Return the device, its threads or processes, and the version of torch, in words.

    >>> _machine({"device": "cpu", "threads": 2, "world": 1, "torch": "2.13.0"})
    'cpu, 2 threads, torch 2.13.0'
    """
    parts = [str(state.get("device", ""))]
    if state.get("device") == "cpu" and "threads" in state:
        parts.append(f"{state['threads']} thread{'s' * (state['threads'] != 1)}")
    if state.get("world", 1) > 1:
        parts.append(f"{state['world']} processes")
    parts.append(f"torch {state['torch']}" if "torch" in state else "")
    return ", ".join(filter(None, parts))


def _adversary(model: Any) -> str:
    """Return the name of a model's adversarial loss; empty where it has none."""
    objective = getattr(model, "objective", None)
    return next((name for name, made in vars(adversarial).items() if made is objective), "")
