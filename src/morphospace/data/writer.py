"""Writes a pack, one image at a time, in a folder that appears whole or not at all.

Everything goes into `<out>.partial-<pid>` beside `out`, is synced, and is renamed at the end. A killed run
leaves only such a folder, which no reader takes for a pack and which the next writer of the same `out` (they
are kept apart by a lock, see `cache.py`) clears away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import PIL

from morphospace.data.pack import FORMAT, FORMAT_OF_SEVERAL, KINDS, array_name, content_hash
from morphospace.files import sync_folder

MOST_BYTES = 2 << 30  # of one file of a pack: what every file system takes, and a copy that breaks off is begun again
_HEADER_BYTES = 128


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """An .npy 1.0 header of fixed length, so that the count can be filled in when it is known."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    body = text.ljust(_HEADER_BYTES - 11).encode("ascii") + b"\n"
    assert len(body) == _HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


class _ArrayFile:
    """One array that grows by rows, in as many .npy files as it takes; hashes what it writes."""

    def __init__(self, folder: Path, stem: str, dtype: np.dtype[Any], most_bytes: int) -> None:
        self.folder, self.stem, self.most_bytes = folder, stem, most_bytes
        self.dtype = dtype.newbyteorder("<")
        self.row: tuple[int, ...] | None = None
        self.hash = hashlib.blake2b(digest_size=16)
        self.done: list[dict[str, int]] = []  # of the files that are full
        self._begin()

    @property
    def count(self) -> int:
        return sum(part["rows"] for part in self.done) + self.rows

    def _begin(self) -> None:
        self.rows = 0  # in the file at hand
        self.stream: BinaryIO = self._file(len(self.done)).open("wb")
        self.stream.write(bytes(_HEADER_BYTES))

    def _file(self, number: int) -> Path:
        """The name of a file; the first has no number as long as it is the only one."""
        return self.folder / (array_name(self.stem, number) if number else f"{self.stem}.npy")

    def append(self, rows: np.ndarray) -> None:
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        assert self.row in (None, rows.shape[1:])
        self.row = rows.shape[1:]
        self.hash.update(rows.data)
        most = max(1, self.most_bytes // max(1, rows[:1].nbytes))
        while len(rows):
            if self.rows == most:
                self._end()
                self._begin()
            part, rows = rows[: most - self.rows], rows[most - self.rows :]
            self.rows += len(part)
            self.stream.write(part.data)

    def _end(self) -> None:
        size = self.stream.tell()
        self.stream.seek(0)
        self.stream.write(_header(self.dtype, (self.rows, *(self.row or ()))))
        _sync(self.stream)
        self.done.append({"rows": self.rows, "bytes": size})

    def close(self) -> dict[str, Any]:
        self._end()
        shape = (sum(part["rows"] for part in self.done), *(self.row or ()))
        said = {"dtype": self.dtype.str, "shape": list(shape), "bytes": sum(part["bytes"] for part in self.done)}
        if len(self.done) > 1:
            self._file(0).rename(self.folder / array_name(self.stem, 0))
            said["files"] = self.done
        return {**said, "hash": self.hash.hexdigest()}


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    stream.close()


def clear_leftovers(out: Path) -> None:
    """Remove what killed writers of `out` left; call it under the lock."""
    for kind in ("partial", "old"):
        for left in out.parent.glob(f"{_glob_escape(out.name)}.{kind}-*"):
            shutil.rmtree(left, ignore_errors=True)


def _glob_escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


class PackWriter:
    """A context manager: append rows split by split, then `finish`; without that, all traces are removed.

    Args:
        out: The pack's folder.
        used: Hash of the pack in `out` if a run uses it: it then stays beside `out`, with its hash in its name, unless
            the new one is the same.
        most_bytes: An array larger than this is split over several files; 2 GiB when None.
    """

    def __init__(self, out: Path, most_bytes: int | None = None, used: str = "") -> None:
        self.out, self.used = out, used
        self.most_bytes = MOST_BYTES if most_bytes is None else most_bytes
        self.partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
        self.files: dict[tuple[str, str], _ArrayFile] = {}

    def __enter__(self) -> PackWriter:
        clear_leftovers(self.out)
        self.partial.mkdir(parents=True)
        return self

    def append(self, split: str, kind: str, rows: np.ndarray) -> None:
        """Add rows of one kind to a split."""
        key = (split, kind)
        if key not in self.files:
            self.files[key] = _ArrayFile(self.partial, f"{split}.{kind}", KINDS[kind], self.most_bytes)
        self.files[key].append(rows)

    def finish(
        self, *, name: str, shape: tuple[int, int, int], names: Mapping[str, Sequence[str]], about: Mapping[str, Any]
    ) -> None:
        """Write the manifest, sync, and put the folder in its place, or in that of an older pack."""
        splits: dict[str, dict[str, Any]] = {}
        for (split, kind), file in self.files.items():
            said = splits.setdefault(split, {"count": file.count, "arrays": {}})
            said["arrays"][kind] = file.close()
        several = any("files" in array for said in splits.values() for array in said["arrays"].values())
        words = {key: tuple(value) for key, value in names.items()}
        hashes = {s: {kind: a["hash"] for kind, a in said["arrays"].items()} for s, said in splits.items()}
        manifest = {
            "format": FORMAT_OF_SEVERAL if several else FORMAT,
            "name": name,
            "shape": list(shape),
            "hash": content_hash(shape, words, hashes),
            **{key: list(value) for key, value in words.items()},
            "splits": splits,
            "decoder": {"pillow": PIL.__version__, "numpy": np.__version__},
            **about,
        }
        stream = (self.partial / "manifest.json").open("wb")
        stream.write((json.dumps(manifest, indent=1) + "\n").encode())
        _sync(stream)
        sync_folder(self.partial)
        if self.out.exists():
            # An older pack (or an empty folder) steps aside; those who have it open keep their maps.
            old = self.out.with_name(f"{self.out.name}.old-{os.getpid()}")
            self.out.rename(old)
            self.partial.rename(self.out)
            aside = self.out.with_name(f"{self.out.name}-{self.used[:12]}")
            if self.used not in ("", manifest["hash"]) and not aside.exists():
                old.rename(aside)
            shutil.rmtree(old, ignore_errors=True)
        else:
            self.partial.rename(self.out)
        sync_folder(self.out.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):  # closing flushes, which a full disk refuses once more
                file.stream.close()
        if self.partial.exists():
            shutil.rmtree(self.partial, ignore_errors=True)
