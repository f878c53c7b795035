"""Arrays of rows on disk: several files behind one array, and reading rows ahead where memory is too small."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np


class Sharded:
    """Rows of several mapped arrays, one after another, as if they were one array.

    Indexed by a row, a slice or an array of rows; what comes back is a plain array in memory, and only the files that
    hold those rows are touched.

    Args:
        parts: Arrays of one type that differ in their first axis at most; at least one.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        first = parts[0]
        assert all(part.dtype == first.dtype and part.shape[1:] == first.shape[1:] for part in parts)
        self.parts = tuple(parts)
        self.dtype, self.ndim = first.dtype, first.ndim
        self.starts = np.array([0, *itertools.accumulate(len(part) for part in parts)])  # of each part, and the end
        self.shape = (int(self.starts[-1]), *first.shape[1:])
        self.nbytes = sum(part.nbytes for part in parts)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: Any) -> np.ndarray:
        if isinstance(at, int | np.integer):
            rows = np.array([at])
            return self._taken(rows)[0]
        if isinstance(at, slice):
            first, last, step = at.indices(len(self))
            return self._run(first, last) if step == 1 else self._taken(np.arange(first, last, step))
        rows = np.asarray(at)
        return self._taken(np.flatnonzero(rows) if rows.dtype == bool else rows)

    def _run(self, first: int, last: int) -> np.ndarray:
        made = [
            part[max(0, first - start) : max(0, last - start)]
            for part, start in zip(self.parts, self.starts)
            if start < last and first < start + len(part)
        ]
        return np.concatenate(made) if made else np.empty((0, *self.shape[1:]), self.dtype)

    def _taken(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"rows run from {rows.min()} to {rows.max()}, there are {len(self)}")
        rows = np.where(rows < 0, rows + len(self), rows).astype(np.int64)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.starts, rows, side="right") - 1
        for part in np.unique(which):
            mine = np.flatnonzero(which == part)
            out[mine] = self.parts[part][rows[mine] - self.starts[part]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows of several files cannot be one array without a copy")
        whole = self._run(0, len(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def on_disk(array: Any) -> bool:
    """Whether an array's rows are read from files when they are asked for."""
    return isinstance(array, np.memmap | Sharded)


class Announcer:
    """Announces rows of mapped arrays before they are read.

    A batch's rows are scattered over the map. Without an announcement each waits for the disk in turn, and the kernel
    reads 128 KiB around it, which is wasted when memory cannot keep it. Announced rows are read in parallel, alone.

    Args:
        arrays: Mapped or sharded; of plain ones nothing is announced.
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._open: list[tuple[int, int, int, int, int]] = []  # file, offset, first row, end, bytes a row
        if not hasattr(os, "posix_fadvise"):  # macOS and Windows: each row is read when it is touched
            return
        for array in arrays:
            starts = array.starts if isinstance(array, Sharded) else [0]
            for part, start in zip(array.parts if isinstance(array, Sharded) else [array], starts):
                if isinstance(part, np.memmap):
                    file = os.open(str(part.filename), os.O_RDONLY)
                    weakref.finalize(self, os.close, file)
                    row = part.nbytes // max(1, len(part))
                    self._open.append((file, part.offset, int(start), int(start) + len(part), row))

    def announce(self, rows: np.ndarray) -> None:
        """Tell the kernel that these rows of all arrays will be read soon."""
        for file, offset, first, end, row in self._open:
            for at in (offset + (rows[(first <= rows) & (rows < end)] - first) * row).tolist():
                os.posix_fadvise(file, at, row, os.POSIX_FADV_WILLNEED)
