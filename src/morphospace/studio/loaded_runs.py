"""The runs of a studio: found once, loaded when a page asks for one, dropped when they take too much memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from morphospace.errors import RunError, SettingError, require
from morphospace.runs.folder import RunFolder, find_runs
from morphospace.runs.hub import local
from morphospace.runs.run import Run, load
from morphospace.studio.space import Space

BYTES = 2 << 30  # of weights and codes that stay loaded
MOST_RUNS = 500


def run_folders(paths: Sequence[str | Path], say: Callable[[str], None] | None = None) -> list[Path]:
    """Return the run folders among paths and below them, in order; runs on the Hub are fetched.

    Raises:
        RunError: If a path is no run and holds none.
    """
    found: list[Path] = []
    for path in (local(path, say) for path in paths):
        inside = [path] if (path / "run.toml").is_file() else sorted(find_runs(path)) if path.is_dir() else []
        if not inside:
            raise RunError("run", str(path), "no run there and none below it", "train one with `morpho train`")
        found += inside
    return list(dict.fromkeys(found))[:MOST_RUNS]


class LoadedRuns:
    """Runs by an id that the studio gives: r0, r1, ...; never by a path that a page could choose.

    Args:
        folders: The runs' folders.
        most: Bytes of loaded runs to keep; the one asked for last always stays.
        loader: Loads a run from its folder.

    Attributes:
        every: Seconds between looks for a newer checkpoint.
    """

    every = 1.0

    def __init__(self, folders: Sequence[Path], most: int = BYTES, loader: Callable[[Path], Run] = load) -> None:
        require(bool(folders), "runs", 0, "a studio needs a run", "train one with `morpho train`")
        self.folders = {f"r{number}": folder for number, folder in enumerate(folders)}
        self.most, self.loader = most, loader
        self._open: OrderedDict[str, Space] = OrderedDict()
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()
        self._loading = {key: threading.Lock() for key in self.folders}

    def path(self, key: str) -> Path:
        """Return where a run is.

        Raises:
            SettingError: If there is no run of that id.
        """
        if key not in self.folders:
            raise SettingError("run", key, "there is no such run here", "ask for `runs`")
        return self.folders[key]

    def folder(self, key: str) -> RunFolder:
        """Return a run's folder, without loading its model."""
        return RunFolder.open(self.path(key))

    def ready(self, key: str) -> Space | None:
        """Return a run if it is loaded and up to date, without waiting for anything."""
        with self._lock:
            found = self._open.get(key)
            if found is None:
                return None
            if time.monotonic() - self._seen[key] > self.every:
                if not found.current():
                    return None
                self._seen[key] = time.monotonic()
            self._open.move_to_end(key)
            return found

    def space(self, key: str) -> Space:
        """Return a run, loaded; where memory needs it, those asked for longest ago are dropped."""
        if (found := self.ready(key)) is None:
            path = self.path(key)
            with self._loading[key]:
                if (found := self.ready(key)) is None:
                    found = Space(self.loader(path))
                    with self._lock:
                        self._open[key], self._seen[key] = found, time.monotonic()
                        self._open.move_to_end(key)
        with self._lock:
            while len(self._open) > 1 and sum(space.bytes for space in self._open.values()) > self.most:
                self._open.popitem(last=False)
        return found
