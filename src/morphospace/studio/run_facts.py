"""What is known of a run: its facts, its curves, the sample grids that training drew, its diagnosis."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from morphospace.data.rule import MAX_PIXELS
from morphospace.errors import MorphospaceError, SettingError, one_line
from morphospace.files import as_json, is_plain, read_text
from morphospace.records import is_count
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import Run, usual_checkpoint
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.space import Space
from morphospace.tools.diagnose import diagnose

MOST_LINES = 2000  # of a run's curves that a page is sent


def list_runs(runs: LoadedRuns) -> dict[str, Any]:
    """Return the facts of each run, without loading any, and what is wrong with those that are broken."""
    facts, broken = [], []
    runs.refresh()
    for key, path in runs.folders.items():
        try:
            facts.append(facts_of(key, runs.names[key], RunFolder.open(path)))
        except MorphospaceError as error:
            broken.append(str(error))
    return {"runs": facts, "broken": broken}


def facts_of(key: str, name: str, folder: RunFolder) -> dict[str, Any]:
    """Return a run's facts, from its folder alone."""
    lines = folder.read_metrics()
    last = lines[-1] if lines else {}
    newest = None if lines else usual_checkpoint(folder)
    return {
        "id": key,
        "name": name,
        "model": folder.configuration.model.name,
        "data": folder.facts.get("data", folder.configuration.data.data),
        "shape": list(folder.shape),
        "latent_dim": folder.configuration.model.code_length(folder.shape),
        "images": last.get("images", int(newest.name) if newest else 0),
        "minutes": round(float(last.get("seconds") or 0) / 60, 2),
        "signed": bool(getattr(folder.configuration.model, "signed", False)),
    }


def describe(key: str, name: str, space: Space) -> dict[str, Any]:
    """Return a loaded run's facts, settings and abilities."""
    known, folder = space.model.conditioning, space.run.folder
    return {
        **facts_of(key, name, folder),
        "cannot": space.cannot(),
        "opening": list(space.seeds),
        "levels": list(space.model.levels),
        "condition": None if known is None else {"kind": known.kind, "names": known.ordered},
        "parameters": space.model.parameters(),
        "settings": read_text(folder.place / "run.toml"),
    }


def describe_unloaded(key: str, name: str, folder: RunFolder, why: str) -> dict[str, Any]:
    """Return the facts and settings of a run that cannot be loaded: one that has just begun has no checkpoint."""
    facts: dict[str, Any] = {"opening": [0], "levels": [], "condition": None, "parameters": None}
    settings = read_text(folder.place / "run.toml")
    return {**facts_of(key, name, folder), **facts, "cannot": {"decode": why, "encode": why}, "settings": settings}


def training_curves(folder: RunFolder) -> dict[str, Any]:
    """Return a run's curves as columns and rows, and the moments of its sample grids."""
    lines = folder.read_metrics()
    names = list(dict.fromkeys(name for line in lines for name in line))
    columns = ["images", "seconds", *(name for name in names if "/" in name or name == "images_per_second")]
    every = max(1, math.ceil(len(lines) / MOST_LINES))
    rows = [[finite(line.get(name)) for name in columns] for line in lines[::every]]
    return {"columns": columns, "rows": rows, "samples": sorted(sample_moments(folder.place))}


def sample_moments(folder: Path) -> dict[int, Path]:
    """Return the sample grids of a run, by the images that training had seen when they were drawn."""
    found = (folder / "samples").glob("*.png")
    return {int(file.stem): file for file in found if is_count(file.stem) and is_plain(file)}


def sample_grid(folder: RunFolder, images: int) -> np.ndarray:
    """Return the sample grid drawn after so many images, uint8 (1, H, W, 3).

    Raises:
        SettingError: If no grid was drawn then.
    """
    found = sample_moments(folder.place)
    if images not in found:
        raise SettingError("images", images, "no samples were drawn then", f"there are {len(found)} moments")
    try:
        with Image.open(found[images], formats=("PNG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"more than {MAX_PIXELS:,} pixels")
            return np.asarray(picture.convert("RGB"))[None]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SettingError(
            "images", images, f"its samples cannot be read ({one_line(error)})", "ask for others"
        ) from None


def diagnosis(run: Run) -> dict[str, Any]:
    """Return what is wrong with a run, in words."""
    found: dict[str, Any] = as_json(diagnose(run, n=256, classes=False).as_dict())
    return found


def finite(value: Any) -> float | None:
    """Return a number that JSON can hold, and None for anything else."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if good else None
