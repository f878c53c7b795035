"""What a run has on record: its facts, its curves, the grids that training drew, what is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from morphospace.errors import MorphospaceError, SettingError
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import Run
from morphospace.studio.shelf import Shelf
from morphospace.tools.diagnose import diagnose

MOST_LINES = 2000  # of a run's curves that a page is sent


def listed(shelf: Shelf) -> dict[str, Any]:
    """Return what there is to say of each run before it is loaded, and what is wrong with those that are broken."""
    runs, broken = [], []
    for key, path in shelf.folders.items():
        try:
            runs.append(facts_of(key, RunFolder.open(path)))
        except MorphospaceError as error:
            broken.append(str(error))
    return {"runs": runs, "broken": broken}


def facts_of(key: str, folder: RunFolder) -> dict[str, Any]:
    """Return a run's facts, from its folder alone."""
    height, width, channels = folder.shape
    lines = folder.read_metrics()
    last = lines[-1] if lines else {}
    return {
        "id": key,
        "name": folder.path.resolve().name,
        "model": folder.configuration.model.name,
        "data": folder.facts.get("data", folder.configuration.data.data),
        "shape": [height, width, channels],
        "latent_dim": folder.configuration.model.latent_dim,
        "images": last.get("images", 0),
        "minutes": round(float(last.get("seconds", 0)) / 60, 2),
        "signed": bool(getattr(folder.configuration.model, "signed", False)),
    }


def described(shelf: Shelf, key: str) -> dict[str, Any]:
    """Return a run's facts, settings and abilities."""
    folder = shelf.folder(key)
    space = shelf.space(key)
    told = space.model.conditioning
    condition = None if told is None else {"kind": told.kind, "names": list(told.names)}
    return {
        **facts_of(key, folder),
        "cannot": space.can(),
        "condition": condition,
        "parameters": space.model.parameters(),
        "settings": (folder.path / "run.toml").read_text(encoding="utf-8"),
    }


def trained(folder: RunFolder) -> dict[str, Any]:
    """Return a run's curves as columns and rows, and the moments that samples were drawn at."""
    lines = folder.read_metrics()
    names = list(dict.fromkeys(name for line in lines for name in line))
    columns = ["images", "seconds", *(name for name in names if "/" in name or name == "images_per_second")]
    every = max(1, math.ceil(len(lines) / MOST_LINES))
    rows = [[plain(line.get(name)) for name in columns] for line in lines[::every]]
    return {"columns": columns, "rows": rows, "samples": moments(folder)}


def plain(value: Any) -> float | None:
    """Return a number that JSON can hold, or nothing."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if good else None


def moments(folder: RunFolder) -> list[int]:
    """Return the numbers of images at which samples were drawn."""
    return sorted(int(file.stem) for file in (folder.path / "samples").glob("*.png") if file.stem.isdecimal())


def snapshot(folder: RunFolder, images: int) -> np.ndarray:
    """Return the grid of samples drawn at a moment, uint8 (1, H, W, 3).

    Raises:
        SettingError: There is none of that moment.
    """
    found = moments(folder)
    if images not in found:
        raise SettingError("images", images, "no samples were drawn then", f"there are {len(found)} moments")
    file = next(f for f in (folder.path / "samples").glob("*.png") if f.stem.isdecimal() and int(f.stem) == images)
    with Image.open(file, formats=("PNG",)) as picture:
        return np.asarray(picture.convert("RGB"))[None]


def diagnosed(run: Run) -> dict[str, Any]:
    """Return what is wrong with a run, in words."""
    found: dict[str, Any] = plainly(diagnose(run, n=256, classes=False).as_dict())
    return found


def plainly(value: Any) -> Any:
    """Return a value as JSON can hold it: what is not finite becomes nothing."""
    if isinstance(value, dict):
        return {str(name): plainly(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plainly(one) for one in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plainly(value.tolist())
    return plain(value) if isinstance(value, float) else value
