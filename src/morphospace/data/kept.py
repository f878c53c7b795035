"""Packs that runs use: found by their hash, kept while a run needs them, shown and freed.

The cache holds packs in `packs/`. For each hash, `runs/<hash>` lists the folders of the runs that use such a pack, and
`places/<hash>` the folders of such packs outside the cache. Both are JSON texts, one a line. What they list may be gone
since, so it is looked at before it is believed.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from morphospace.data.cache import cache_folder, locked, make_folder
from morphospace.data.pack import Pack, open_pack
from morphospace.data.writer import PackWriter
from morphospace.errors import DataError
from morphospace.files import absolute

GIVEN = "given"  # the source in the manifest of images that were handed over as a Python object
_HASH = re.compile(r"[0-9a-f]{32}")
_UNFINISHED = re.compile(r".*\.(partial|old)-[0-9]+")
_ROWS_AT_ONCE = 1024


def packs_folder() -> Path:
    """The folder of the cache's packs."""
    return cache_folder() / "packs"


def _lines(kind: str, hash: str) -> list[Path]:
    """Return the paths that `runs/<hash>` or `places/<hash>` lists."""
    paths: list[Path] = []
    if _HASH.fullmatch(hash):
        with contextlib.suppress(OSError, ValueError):
            text = (cache_folder() / kind / hash).read_text(encoding="utf-8")
            paths = [Path(str(json.loads(line))) for line in text.splitlines()]
    return paths


def _note(kind: str, hash: str, path: Path) -> None:
    """Add a path to a list; a cache that cannot be written to keeps none."""
    path = absolute(path)
    # A run's folder may come from a stranger: nothing but a hash may name a file here.
    if not _HASH.fullmatch(hash) or path in _lines(kind, hash):
        return
    with contextlib.suppress(OSError):
        file = cache_folder() / kind / hash
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(str(path)) + "\n")


def note_use(pack: Pack, run: Path) -> None:
    """Remember that a run uses a pack, and where the pack is if it lies outside the cache."""
    _note("runs", pack.hash, run)
    if pack.path is not None and absolute(pack.path).parent != absolute(packs_folder()):
        _note("places", pack.hash, pack.path)


def users(hash: str) -> list[Path]:
    """Return the folders of the runs that use the pack with this hash and are still there."""
    return [run for run in _lines("runs", hash) if _trained_on(run, hash)]


def _trained_on(run: Path, hash: str) -> bool:
    try:
        return f'data_hash = "{hash}"' in (run / "run.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _packs() -> Iterator[tuple[Path, str]]:
    """Yield the folder and the hash of every pack in the cache."""
    for file in sorted(packs_folder().glob("*/manifest.json")):
        if not _UNFINISHED.fullmatch(file.parent.name):
            yield file.parent, _said_hash(file)


def _said_hash(manifest: Path) -> str:
    """Return the hash that a manifest states; empty if it cannot be read."""
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["hash"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def find_pack(hash: str) -> Pack | None:
    """Return a whole pack with this hash, out of the cache or a folder where one was seen; None if there is none."""
    return next(find_packs(hash), None)


def find_packs(hash: str) -> Iterator[Pack]:
    """Yield every whole pack with this hash: folders with the same images have one each."""
    elsewhere = ((place, _said_hash(place / "manifest.json")) for place in _lines("places", hash))
    for place, said in (*_packs(), *elsewhere):
        if said and said == hash:
            with contextlib.suppress(DataError):
                yield open_pack(place)


def keep_pack(pack: Pack) -> Path:
    """Write a pack that is in memory into the cache, so that later processes find it; return its folder.

    Raises:
        DataError: If the cache cannot be written to.
    """
    shape = "x".join(map(str, pack.shape))
    target = packs_folder() / f"{GIVEN}-{shape}-{pack.hash[:12]}"
    make_folder(target.parent)
    try:
        with locked(target):
            if (target / "manifest.json").is_file():
                return target
            with PackWriter(target) as writer:
                for name, split in pack.splits.items():
                    for kind, array in split.arrays().items():
                        for first in range(0, len(array), _ROWS_AT_ONCE):
                            writer.append(name, kind, array[first : first + _ROWS_AT_ONCE])
                names = {f"{kind}_names": getattr(pack, f"{kind}_names") for kind in _NAMED}
                writer.finish(name=pack.name, shape=pack.shape, names=names, about=_ABOUT)
    except OSError as error:
        rule = f"could not be written ({error.strerror or type(error).__name__})"
        raise DataError(target, rule=rule, way_out="make room, or set MORPHOSPACE_CACHE to another folder") from None
    return target


_NAMED = ("label", "attribute", "factor", "mask")
_ABOUT = {"source": GIVEN, "key": "", "inputs": {}, "skipped": {"count": 0, "first": []}, "notes": []}


@dataclass(frozen=True)
class CachedPack:
    """A pack in the cache, as `morpho data prune` shows it.

    Attributes:
        path: Its folder.
        bytes: Its size on disk.
        runs: The runs that use it.
        gone: Runs that used it and are not where they were.
        given: Whether its images were handed over as a Python object, so that it cannot be made again.
        unfinished: Whether it is what a stopped process left of a pack.
    """

    path: Path
    bytes: int
    runs: tuple[Path, ...]
    gone: tuple[Path, ...]
    given: bool = False
    unfinished: bool = False

    @property
    def free(self) -> bool:
        """Whether no run uses it."""
        return not self.runs


def cached_packs(runs: Iterable[Path] = ()) -> list[CachedPack]:
    """Return every pack in the cache, the largest first.

    Args:
        runs: Run folders that may have moved since they were last used; they count as users from now on.
    """
    known = dict(_packs())
    for run in runs:
        for hash in {hash for hash in known.values() if _trained_on(run, hash)}:
            _note("runs", hash, run)
    found = [_cached(place, hash) for place, hash in known.items()]
    unfinished = [p for p in packs_folder().glob("*") if _UNFINISHED.fullmatch(p.name) and p.is_dir()]
    found += [CachedPack(place, _size(place), (), (), unfinished=True) for place in unfinished]
    return sorted(found, key=lambda pack: (-pack.bytes, pack.path))


def _cached(place: Path, hash: str) -> CachedPack:
    there = users(hash)
    gone = tuple(run for run in _lines("runs", hash) if run not in there)
    return CachedPack(place, _size(place), tuple(there), gone, given=place.name.startswith(f"{GIVEN}-"))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


def free_packs(packs: Iterable[CachedPack]) -> int:
    """Delete packs of the cache that no run uses; return how many bytes that gives back.

    Each is looked at once more under its lock: one that a run has begun to use stays.
    """
    freed = 0
    for pack in packs:
        target = pack.path.with_name(pack.path.name.rpartition(".")[0]) if pack.unfinished else pack.path
        with locked(target):
            hash = _said_hash(pack.path / "manifest.json")
            if not pack.unfinished and users(hash):
                continue
            shutil.rmtree(pack.path, ignore_errors=True)
            if _HASH.fullmatch(hash) and find_pack(hash) is None:
                (cache_folder() / "runs" / hash).unlink(missing_ok=True)
        freed += pack.bytes
    return freed
