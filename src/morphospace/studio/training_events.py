"""What training writes while pages are open: new runs, lines of curves, grids and checkpoints, sent to every page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morphospace.errors import RunError
from morphospace.files import as_json, is_plain, json_text, open_plain
from morphospace.records import read_json
from morphospace.runs.folder import RunFolder
from morphospace.runs.run import usual_checkpoint
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.run_facts import sample_moments

EVERY = 1.0  # seconds between two looks at the folders
SILENT_SECONDS = 15.0  # without an event, a stream sends an empty comment: so one whose page is gone ends
MOST_UNREAD = 1000  # events that wait for a page that does not read them; it misses those that come then
READ_BYTES = 1 << 20  # of one run's curves at a look


@dataclass
class Seen:
    """What was seen of a run's folder.

    Attributes:
        read: Bytes of its curves.
        samples: The sample grids, by the images seen when they were drawn.
        checkpoint: Images at its newest checkpoint; None before the first.
    """

    read: int = 0
    samples: set[int] = field(default_factory=set)
    checkpoint: int | None = None


class FolderWatcher:
    """Looks at the runs' folders; each look returns what came since the one before.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: LoadedRuns) -> None:
        self.runs = runs
        self._seen: dict[str, Seen] = {}
        self._look_at_new_runs()

    def _look_at_new_runs(self) -> bool:
        fresh = {key: folder for key, folder in self.runs.folders.items() if key not in self._seen}
        for key, folder in fresh.items():
            self._seen[key] = Seen(curve_bytes(folder), set(sample_moments(folder)), newest_checkpoint(folder))
        return bool(fresh)

    def latest(self) -> list[dict[str, Any]]:
        """Return the new events, of the kinds `runs`, `report`, `samples` and `checkpoint`."""
        self.runs.refresh()
        events: list[dict[str, Any]] = [{"kind": "runs"}] if self._look_at_new_runs() else []
        for key, seen in self._seen.items():
            folder = self.runs.folders[key]
            # A run may be deleted, or begun anew, while we look.
            with contextlib.suppress(OSError):
                events += new_events(key, folder, seen)
        return events


def new_events(key: str, folder: Path, seen: Seen) -> list[dict[str, Any]]:
    """Return what is new in a run's folder, and note it as seen."""
    events: list[dict[str, Any]] = []
    size = curve_bytes(folder)
    if size > seen.read:
        with open_plain(folder / "metrics.jsonl") as file:
            file.seek(seen.read)
            text = file.read(READ_BYTES)
        whole = text[: text.rfind(b"\n") + 1]  # the last line may be half written
        seen.read += len(whole)
        # Kind and run last: a line cannot pass for another run's.
        events += [{**as_json(line), "kind": "report", "run": key} for line in map(parsed, whole.splitlines()) if line]
    else:
        seen.read = size
    moments = set(sample_moments(folder))
    events += [{"kind": "samples", "run": key, "images": images} for images in sorted(moments - seen.samples)]
    seen.samples = moments
    newest = newest_checkpoint(folder)
    if newest is not None and newest != seen.checkpoint:
        events.append({"kind": "checkpoint", "run": key, "images": newest})
    seen.checkpoint = newest
    return events


def curve_bytes(folder: Path) -> int:
    """Return the length of a run's curves in bytes."""
    file = folder / "metrics.jsonl"
    return file.lstat().st_size if is_plain(file) else 0


def newest_checkpoint(folder: Path) -> int | None:
    """Return the images of the checkpoint that a run's model is read from."""
    with contextlib.suppress(RunError, OSError):
        newest = usual_checkpoint(RunFolder.open(folder))
        return None if newest is None else int(newest.name)
    return None


def parsed(text: bytes) -> dict[str, Any] | None:
    """Return a line of curves, or None if it is none."""
    try:
        found = read_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Broadcast:
    """Sends the events to every page that listens, and looks for them only while one does.

    Args:
        watch: Makes the watcher, when the first page begins to listen.
    """

    def __init__(self, watch: Callable[[], FolderWatcher]) -> None:
        self.watch = watch
        self._readers: set[asyncio.Queue[str]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def read(self) -> AsyncIterator[str]:
        """Yield the events as server-sent events, until the reader leaves."""
        unread: asyncio.Queue[str] = asyncio.Queue(MOST_UNREAD)
        self._readers.add(unread)
        try:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            yield "retry: 2000\n\n"
            while True:
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        text = await unread.get()
                except TimeoutError:
                    text = ":\n\n"
                yield text
        finally:
            self._readers.discard(unread)
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        watcher = await asyncio.to_thread(self.watch)
        while True:
            for event in await asyncio.to_thread(watcher.latest):
                text = f"data: {json_text(event)}\n\n"
                for unread in self._readers:
                    with contextlib.suppress(asyncio.QueueFull):
                        unread.put_nowait(text)
            await asyncio.sleep(EVERY)
