"""Writes a pack, one image at a time, in a folder that appears whole or not at all.

Everything goes into `<out>.partial-<pid>` beside `out`, is synced, and is renamed at the end. A killed run
leaves only such a folder, which no reader takes for a pack and which the next writer of the same `out` (they
are kept apart by a lock, see `cache.py`) clears away.
"""

from __future__ import annotations

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

from morphospace.data.pack import FORMAT, KINDS, content_hash

__all__ = ["PackWriter", "clear_leftovers"]

_HEADER_BYTES = 128


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """An .npy 1.0 header of fixed length, so that the count can be filled in when it is known."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    body = text.ljust(_HEADER_BYTES - 11).encode("ascii") + b"\n"
    assert len(body) == _HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


class _ArrayFile:
    """One .npy file that grows by rows; hashes what it writes, so that nothing is read back."""

    def __init__(self, file: Path, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype.newbyteorder("<")
        self.count = 0
        self.row: tuple[int, ...] | None = None
        self.hash = hashlib.blake2b(digest_size=16)
        self.stream: BinaryIO = file.open("wb")
        self.stream.write(bytes(_HEADER_BYTES))

    def append(self, rows: np.ndarray) -> None:
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        assert self.row in (None, rows.shape[1:])
        self.row = rows.shape[1:]
        self.count += len(rows)
        self.hash.update(rows.data)
        self.stream.write(rows.data)

    def close(self) -> dict[str, Any]:
        shape = (self.count, *(self.row or ()))
        size = self.stream.tell()
        self.stream.seek(0)
        self.stream.write(_header(self.dtype, shape))
        _sync(self.stream)
        return {"dtype": self.dtype.str, "shape": list(shape), "bytes": size, "hash": self.hash.hexdigest()}


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
    """A context manager: append rows split by split, then `finish`; without that, all traces are removed."""

    def __init__(self, out: Path) -> None:
        self.out = out
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
            self.files[key] = _ArrayFile(self.partial / f"{split}.{kind}.npy", KINDS[kind])
        self.files[key].append(rows)

    def finish(
        self,
        *,
        name: str,
        shape: tuple[int, int, int],
        names: Mapping[str, Sequence[str]],
        about: Mapping[str, Any],
    ) -> None:
        """Write the manifest, sync, and put the folder in its place, or in that of an older pack."""
        splits: dict[str, dict[str, Any]] = {}
        for (split, kind), file in self.files.items():
            said = splits.setdefault(split, {"count": file.count, "arrays": {}})
            said["arrays"][kind] = file.close()
        words = {key: tuple(value) for key, value in names.items()}
        hashes = {s: {kind: a["hash"] for kind, a in said["arrays"].items()} for s, said in splits.items()}
        manifest = {
            "format": FORMAT,
            "name": name,
            "shape": list(shape),
            "hash": content_hash(shape, words, hashes),
            **{key: list(value) for key, value in words.items()},
            "splits": splits,
            "decoder": {"pillow": PIL.__version__, "numpy": np.__version__},
            **about,
        }
        with (self.partial / "manifest.json").open("wb") as stream:
            stream.write((json.dumps(manifest, indent=1) + "\n").encode())
            _sync_open(stream)
        _sync_folder(self.partial)
        if self.out.exists():
            # An older pack (or an empty folder) steps aside; those who have it open keep their maps.
            old = self.out.with_name(f"{self.out.name}.old-{os.getpid()}")
            self.out.rename(old)
            self.partial.rename(self.out)
            shutil.rmtree(old, ignore_errors=True)
        else:
            self.partial.rename(self.out)
        _sync_folder(self.out.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self.files.values():
            file.stream.close()
        if self.partial.exists():
            shutil.rmtree(self.partial, ignore_errors=True)


def _sync_open(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename outlive a power cut; folders cannot be opened on Windows, where it is not needed."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
