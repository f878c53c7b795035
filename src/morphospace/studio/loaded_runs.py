"""The runs of a studio: found as they begin, loaded when a page asks for one, dropped where memory needs it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from morphospace.errors import RunError, SettingError, require
from morphospace.runs.folder import RunFolder, find_runs
from morphospace.runs.hub import local
from morphospace.runs.run import Run, load
from morphospace.studio.space import Space

BYTES = 2 << 30  # of weights and codes that stay loaded
MOST_RUNS = 500
LOOK_SECONDS = 3.0  # between two looks for runs that began meanwhile


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


def names_of(folders: Sequence[Path], taken: Collection[str] = ()) -> list[str]:
    """Return what each run is called: its plain name, or its folder's with as many above it as tell it from others.

    >>> names_of([Path("a/beta=1"), Path("b/beta=1"), Path("b/beta=2")])
    ['a/beta=1', 'b/beta=1', 'beta=2']
    """
    places = [folder.resolve() for folder in folders]
    ways = [[RunFolder.plain_name(place.name)] for place in places]
    for way, place in zip(ways, places):
        way += ["/".join(place.parts[-depth:]) for depth in range(1, len(place.parts) + 1)]
    often = Counter(name for way in ways for name in dict.fromkeys(way))
    return [next((name for name in way if often[name] == 1 and name not in taken), way[-1]) for way in ways]


class LoadedRuns:
    """Runs by an id that the studio gives: r0, r1, ...; never by a path that a page could choose.

    Args:
        folders: The runs' folders.
        most: Bytes of loaded runs to keep; the one asked for last always stays.
        loader: Loads a run from its folder.
        find: Returns the runs' folders as they are now, with those that began meanwhile; none begin when left out.

    Attributes:
        every: Seconds between looks for a newer checkpoint.
        folders: The runs' folders by their ids.
        names: What the runs are called, by their ids; no two alike.
    """

    every = 1.0

    def __init__(
        self,
        folders: Sequence[Path],
        most: int = BYTES,
        loader: Callable[[Path], Run] = load,
        find: Callable[[], Sequence[Path]] = tuple,
    ) -> None:
        require(bool(folders), "runs", 0, "a studio needs a run", "train one with `morpho train`")
        self.folders: dict[str, Path] = {}
        self.names: dict[str, str] = {}
        self.most, self.loader, self.find = most, loader, find
        self._open: OrderedDict[str, Space] = OrderedDict()
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._looked = time.monotonic()
        self._add(folders)

    def _add(self, folders: Sequence[Path]) -> None:
        keys = {f"r{number}": folder for number, folder in enumerate(folders, len(self.folders))}
        self._loading |= {key: threading.Lock() for key in keys}
        called = names_of(list(keys.values()), set(self.names.values()))
        self.names = {**self.names, **dict(zip(keys, called))}
        self.folders = {**self.folders, **keys}  # replaced as a whole: others may be reading it

    def refresh(self) -> bool:
        """Look for runs that began since, at most every few seconds; whether there are any."""
        with self._lock:
            if time.monotonic() - self._looked < LOOK_SECONDS:
                return False
            self._looked = time.monotonic()
        known, found = set(self.folders.values()), []
        with contextlib.suppress(RunError, OSError):
            found = [folder for folder in self.find() if folder not in known]
        with self._lock:
            fresh = found[: MOST_RUNS - len(self.folders)]
            self._add(fresh)
        return bool(fresh)

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
