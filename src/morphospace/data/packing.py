"""Brings what a source has into a pack's writer: decodes or resizes, and keeps the tables in step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from morphospace.data.decode import Rule, fit, fit_mask
from morphospace.data.sources.base import Contents, Part
from morphospace.data.workers import decode_all
from morphospace.data.writer import PackWriter
from morphospace.errors import DataError

__all__ = ["NAME_KINDS", "Packer", "Progress"]

Progress = Callable[[int, int], None]
_ROWS_AT_ONCE = 1024

NAME_KINDS = ("label_names", "attribute_names", "factor_names", "mask_names")


class Packer:
    """Brings the parts of a source into a writer, and keeps count."""

    def __init__(
        self, contents: Contents, rule: Rule, workers: int | None, progress: Progress | None, strict: bool
    ) -> None:
        self.contents, self.rule, self.workers, self.strict = contents, rule, workers, strict
        self.progress = progress or (lambda done, total: None)
        self.total = sum(len(part) for part in contents.parts.values())
        self.done = 0
        self.skipped: list[dict[str, str]] = []

    def _count(self, images: int) -> None:
        self.done += images
        self.progress(self.done, self.total)

    def add(self, writer: PackWriter, split: str) -> None:
        """Write one split: its images, then whatever is known of those that could be read."""
        part = self.contents.parts[split]
        kept = self._decoded(writer, split, part) if part.files is not None else self._resized(writer, split, part)
        for kind in ("labels", "attributes", "factors"):
            table = getattr(part, kind)
            if table is not None:
                writer.append(split, kind, table[kept])

    def _resized(self, writer: PackWriter, split: str, part: Part) -> np.ndarray:
        for first in range(0, len(part), _ROWS_AT_ONCE):
            rows = part.images[first : first + _ROWS_AT_ONCE]
            same = rows.shape[1:] == self.rule.shape
            writer.append(split, "images", rows if same else np.stack([fit(row, self.rule) for row in rows]))
            if part.masks is not None:
                masks = part.masks[first : first + _ROWS_AT_ONCE]
                whole = masks.shape[1:3] == self.rule.shape[:2]
                writer.append(split, "masks", masks if whole else np.stack([fit_mask(m, self.rule) for m in masks]))
            self._count(len(rows))
        return np.arange(len(part))

    def _decoded(self, writer: PackWriter, split: str, part: Part) -> np.ndarray:
        assert part.files is not None
        first, lost, before = 0, [], len(self.skipped)
        for count, (images, bad, masks) in decode_all(part.files, self.rule, workers=self.workers, decode=part.chunk):
            for position, reason in bad:
                self._skip(part, first + position, reason)
                lost.append(first + position)
            if len(images):
                writer.append(split, "images", images)
                if masks is not None:
                    writer.append(split, "masks", masks)
            first += count
            self._count(count)
        if len(lost) == len(part):
            one = self.skipped[before]
            raise DataError(
                f"{self.contents.name}: none of the {len(part):,} files of {split} can be read"
                f" (the first, {one['file']}: {one['reason']}); check the files"
            )
        return np.setdiff1d(np.arange(len(part)), lost)

    def _skip(self, part: Part, row: int, reason: str) -> None:
        assert part.files is not None
        name = part.names[row] if part.names else str(part.files[row])
        if self.strict:
            raise DataError(f"{name}: {reason}; leave strict off to skip and count such files")
        self.skipped.append({"file": name, "reason": reason})
