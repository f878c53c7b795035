"""Ask the kernel to read rows of a mapped pack ahead, where the pack is larger than memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from morphospace.data.shards import Sharded


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
