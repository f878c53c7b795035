"""A run's report: one page that needs nothing beside it. `report.html` says what stands where."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from PIL import Image

from morphospace.files import is_plain, read_bytes, write_text
from morphospace.pictures.pages import render
from morphospace.records import read_json
from morphospace.runs.folder import DIAGRAM, RunFolder, last_values

FITTED = "from a mixture fitted to the codes of training images, which do not lie as N(0, I) does"


def write_report(run: RunFolder) -> Path:
    """Write `report.html` of a run: its last pictures, curves, numbers and settings, all inside one file."""
    last = {name: v for name, v in last_values(run.read_metrics()).items() if isinstance(v, int | float)}
    page = render(
        "runs/report.html",
        title=f"{run.configuration.model.name}: {run.path.name}",
        samples=_newest(run.place / "samples"),
        samples_from=sampled_from(run.place / "samples"),
        reconstructions=_newest(run.place / "reconstructions"),
        curves=_newest(run.place, "curves.png"),
        diagram=_newest(run.place, DIAGRAM),
        best=run.read_best(),
        numbers={name: f"{v:,.5g}" if isinstance(v, float) else f"{v:,}" for name, v in last.items()},
        sections=_sections(run),
    )
    write_text(run.place / "report.html", page)
    return run.place / "report.html"


def _sections(run: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the run's settings without the folders of this machine: the page may be shown to others."""
    sections = run.configuration.to_dict()
    data = sections["data"]
    data.pop("root", None)
    kind, colon, place = data["data"].rpartition(":")
    if Path(place).is_absolute():
        data["data"] = f"{kind}{colon}{Path(place).name}"
    return sections


def sampled_from(picture: Path) -> str:
    """Return in words where the codes of a sheet of samples come from; empty for the model's own prior.

    Args:
        picture: The PNG, or a folder for the last one of it.
    """
    found = sorted(file for file in picture.glob("*.png") if is_plain(file)) if picture.is_dir() else [picture]
    if not found:
        return ""
    try:
        with Image.open(found[-1], formats=("PNG",)) as sheet:
            facts = read_json(str(sheet.info.get("morphospace", "{}")).encode())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    return FITTED if isinstance(facts, dict) and facts.get("prior") == "mixture" else ""


def _newest(folder: Path, pattern: str = "*.png") -> str:
    """Return the last picture of a folder, by name, as base64; empty where there is none."""
    found = sorted(file for file in folder.glob(pattern) if is_plain(file))
    return base64.b64encode(read_bytes(found[-1])).decode() if found else ""
