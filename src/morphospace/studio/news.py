"""What is new in the runs' folders: lines of their curves, grids and checkpoints, seen by looking now and then."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morphospace.errors import RunError
from morphospace.runs.checkpoints import pointed
from morphospace.studio.records import plainly
from morphospace.studio.shelf import Shelf

READ_BYTES = 1 << 20  # of one run's curves at a look


@dataclass
class Seen:
    """What was seen of a run.

    Attributes:
        read: Bytes of its curves.
        samples: The moments of its sample grids, in images.
        checkpoint: Images at its newest checkpoint; None before the first.
    """

    read: int = 0
    samples: set[int] = field(default_factory=set)
    checkpoint: int | None = None


class News:
    """Looks at the runs' folders; each look tells what came since the one before.

    Args:
        shelf: The runs.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.folders = dict(shelf.folders)
        self._seen = {
            key: Seen(size_of(folder), moments_of(folder), newest_of(folder)) for key, folder in self.folders.items()
        }

    def latest(self) -> list[dict[str, Any]]:
        """Return what is new: events of the kinds `report`, `samples` and `checkpoint`."""
        events: list[dict[str, Any]] = []
        for key, folder in self.folders.items():
            # A run may be deleted, or begun anew, while we look.
            with contextlib.suppress(OSError):
                events += look(key, folder, self._seen[key])
        return events


def look(key: str, folder: Path, seen: Seen) -> list[dict[str, Any]]:
    """Return what is new of one run, and remember it."""
    events: list[dict[str, Any]] = []
    size = size_of(folder)
    if size > seen.read:
        with (folder / "metrics.jsonl").open("rb") as file:
            file.seek(seen.read)
            text = file.read(READ_BYTES)
        whole = text[: text.rfind(b"\n") + 1]  # the last line may be half written
        seen.read += len(whole)
        # Kind and run last: a line cannot pass for another run's.
        events += [{**plainly(line), "kind": "report", "run": key} for line in map(parsed, whole.splitlines()) if line]
    else:
        seen.read = size
    moments = moments_of(folder)
    events += [{"kind": "samples", "run": key, "images": images} for images in sorted(moments - seen.samples)]
    seen.samples = moments
    newest = newest_of(folder)
    if newest is not None and newest != seen.checkpoint:
        events.append({"kind": "checkpoint", "run": key, "images": newest})
    seen.checkpoint = newest
    return events


def size_of(folder: Path) -> int:
    """Return the length of a run's curves in bytes."""
    file = folder / "metrics.jsonl"
    return file.stat().st_size if file.is_file() else 0


def moments_of(folder: Path) -> set[int]:
    """Return the numbers of images at which samples were drawn."""
    return {int(file.stem) for file in (folder / "samples").glob("*.png") if file.stem.isdecimal()}


def newest_of(folder: Path) -> int | None:
    """Return the images of the checkpoint that a run's model is read from."""
    with contextlib.suppress(RunError, OSError):
        newest = pointed(folder / "checkpoints", "best") or pointed(folder / "checkpoints", "last")
        return None if newest is None else int(newest.name)
    return None


def parsed(text: bytes) -> dict[str, Any] | None:
    """Return a line of curves; None where it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
