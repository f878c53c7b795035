"""Write a source's images into a pack: decode or resize them, and keep the tables aligned.

Whatever the number of images, a few are held at once, and of the tables at most a class number for each.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from morphospace.data.decode import measure_chunk
from morphospace.data.fitting import fit, fit_mask
from morphospace.data.formats import unread
from morphospace.data.labels import gap_note, without_gaps
from morphospace.data.opening import Blob
from morphospace.data.rule import Rule
from morphospace.data.sources.base import Contents, Part, Sample
from morphospace.data.values import Met, kind_of_array, to_levels, to_uint8_rows
from morphospace.data.workers import CHUNK_BYTES, chunk_images, decode_all, decode_stream
from morphospace.data.writer import PackWriter
from morphospace.errors import DataError

Progress = Callable[[int, int], None]
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 1024, 32 << 20

_NAME_KINDS = ("label_names", "attribute_names", "factor_names", "mask_names")


class Packer:
    """Writes the parts of a source into a pack, and counts images and skipped files."""

    def __init__(
        self, contents: Contents, rule: Rule, workers: int | None, progress: Progress | None, strict: bool
    ) -> None:
        self.contents, self.rule, self.workers, self.strict = contents, rule, workers, strict
        self.progress = progress or (lambda done, total: None)
        self.total = sum(len(part) for part in contents.parts.values())
        self.done = 0
        self.skipped: list[dict[str, str]] = []
        self.met = Met()
        self.words: dict[str, int] = {}  # of classes that samples name, in the order they came
        self.labels: dict[str, list[np.ndarray]] = {}
        self.numbers: tuple[str, ...] = ()  # of classes that samples number with gaps, once all splits were added

    def _count(self, images: int) -> None:
        self.done += images
        self.progress(self.done, self.total)

    def names(self) -> dict[str, tuple[str, ...]]:
        """The names of classes and of the tables' columns; complete when all splits have been added."""
        names = {kind: getattr(self.contents, kind) for kind in _NAME_KINDS}
        return names | {"label_names": tuple(sorted(self.words)) or self.numbers or self.contents.label_names}

    def notes(self) -> tuple[str, ...]:
        """Return lines on the files that were passed over beside the samples, once all have been read."""
        found = [part.samples.passed for part in self.contents.parts.values() if part.samples is not None]
        return (*unread(sum(found, Counter())), *[gap_note(self.numbers)] * bool(self.numbers))

    def finish(self, writer: PackWriter) -> None:
        """Write the labels, whose numbers are known once all splits were added."""
        order = {word: number for number, word in enumerate(sorted(self.words))}
        new = np.array([order[word] for word in self.words], np.int64)
        found: Mapping[str, np.ndarray] = {split: np.concatenate(labels) for split, labels in self.labels.items()}
        if not self.words:
            found, self.numbers = without_gaps(found)
        for split, numbers in found.items():
            writer.append(split, "labels", new[numbers] if self.words else numbers)

    def add(self, writer: PackWriter, split: str) -> None:
        """Write one split: its images, then the tables of those that could be read."""
        part = self.contents.parts[split]
        if part.samples is not None:
            self._streamed(writer, split, part)
            return
        kept = self._decoded(writer, split, part) if part.files is not None else self._resized(writer, split, part)
        for kind in ("labels", "attributes", "factors"):
            table = getattr(part, kind)
            if table is not None:
                writer.append(split, kind, table[kept])

    def _resized(self, writer: PackWriter, split: str, part: Part) -> np.ndarray:
        step = _rows_at_once(part)
        for first in range(0, len(part), step):
            rows = self._levels(part.images[first : first + step], part)
            same = rows.shape[1:] == self.rule.shape
            writer.append(split, "images", rows if same else np.stack([self._fitted(row) for row in rows]))
            if part.masks is not None:
                masks = part.masks[first : first + step]
                whole = masks.shape[1:3] == self.rule.shape[:2]
                writer.append(split, "masks", masks if whole else np.stack([fit_mask(m, self.rule) for m in masks]))
            self._count(len(rows))
        return np.arange(len(part))

    def _levels(self, rows: np.ndarray, part: Part) -> np.ndarray:
        rule, met = self.rule, self.met
        try:
            return to_uint8_rows(rows, rule.channels, background=rule.background, span=rule.range, met=met)
        except DataError as error:
            raise _of_array(error, part, self.contents) from None

    def _fitted(self, row: np.ndarray) -> np.ndarray:
        one = Met()
        pixels = fit(row, self.rule, one)
        self.met.add(one)
        return pixels

    def _decoded(self, writer: PackWriter, split: str, part: Part) -> np.ndarray:
        assert part.files is not None
        first, lost, before = 0, [], len(self.skipped)
        decoded = decode_all(part.files, self.rule, workers=self.workers, decode=part.chunk)
        for count, (images, bad, masks, met) in decoded:
            self.met.add(met)
            for position, reason in bad:
                row = first + position
                self._skip(part.names[row] if part.names else str(part.files[row]), reason)
                lost.append(first + position)
            if len(images):
                writer.append(split, "images", images)
                if masks is not None:
                    writer.append(split, "masks", masks)
            first += count
            self._count(count)
        if len(lost) == len(part):
            raise self._nothing(split, before)
        return np.setdiff1d(np.arange(len(part)), lost)

    def _streamed(self, writer: PackWriter, split: str, part: Part) -> None:
        """Decode samples as they come; their tables are written or kept chunk by chunk."""
        assert part.samples is not None
        before, written = len(self.skipped), 0
        sent: deque[list[Sample]] = deque()
        chunks = self._chunks(part.samples, sent)
        for count, (images, bad, _, met) in decode_stream(chunks, self.rule, workers=self.workers, decode=part.chunk):
            self.met.add(met)
            samples = sent.popleft()
            for position, reason in bad:
                self._skip(samples[position].name, reason)
            lost = {position for position, _ in bad}
            kept = [sample for position, sample in enumerate(samples) if position not in lost]
            if kept:
                writer.append(split, "images", images)
                self._tables(writer, split, kept)
            written, self.done = written + len(kept), self.done + count
            # Their number is known at the end only: until then, by how much of the archives has been read.
            self.progress(self.done, max(self.done + 1, round(self.done / max(part.samples.share, 1e-9))))
        if not written:
            raise self._nothing(split, before)
        self.progress(self.done, self.done)

    def _chunks(self, samples: Iterable[Sample], sent: deque[list[Sample]]) -> Iterator[list[bytes]]:
        """The encoded images of some samples at a time, which `sent` remembers without the images."""
        held: list[Sample] = []
        size, most = 0, chunk_images(self.rule)
        for sample in samples:
            if sample.wrong:
                self._skip(sample.name, sample.wrong)
                continue
            held.append(sample)
            size += len(sample.image)
            if len(held) == most or size >= CHUNK_BYTES:
                yield self._sent(held, sent)
                held, size = [], 0
        if held:
            yield self._sent(held, sent)

    def _sent(self, held: list[Sample], sent: deque[list[Sample]]) -> list[bytes]:
        sent.append([replace(sample, image=b"") for sample in held])
        return [sample.image for sample in held]

    def _tables(self, writer: PackWriter, split: str, kept: list[Sample]) -> None:
        if kept[0].label is not None:
            numbers = [
                self.words.setdefault(sample.label, len(self.words)) if isinstance(sample.label, str) else sample.label
                for sample in kept
            ]
            self.labels.setdefault(split, []).append(np.array(numbers, np.int64))
        if kept[0].attributes:
            rows = [[sample.attributes[name] for name in self.contents.attribute_names] for sample in kept]
            writer.append(split, "attributes", np.array(rows, np.uint8))

    def _nothing(self, split: str, before: int) -> DataError:
        one = self.skipped[before] if len(self.skipped) > before else {"file": "there is none", "reason": "empty"}
        return DataError(
            self.contents.name,
            rule=f"none of the {len(self.skipped) - before:,} files of {split} can be read (the first, "
            f"{one['file']}: {one['reason']})",
            way_out="check the files",
        )

    def _skip(self, name: str, reason: str) -> None:
        if self.strict:
            raise DataError(name, rule=reason, way_out="leave strict off to skip and count such files")
        self.skipped.append({"file": name, "reason": reason})


def _rows_at_once(part: Part) -> int:
    """How many images of an array make a step; fewer where each is large."""
    each = getattr(part.images, "row_bytes", 1)
    return max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max(1, each)))


def _of_array(error: DataError, part: Part, contents: Contents) -> DataError:
    place = getattr(part.images, "called", contents.name)
    return DataError(place, rule=error.rule, way_out=error.way_out)


def measure(contents: Contents, rule: Rule, workers: int | None) -> Met:
    """Return the lowest and the highest value of all images of a source; those that cannot be read do not count."""
    met = Met()
    for part in contents.parts.values():
        if part.samples is not None:
            blobs = (sample.image for sample in part.samples if not sample.wrong)
            for _, chunk in decode_stream(_batched(blobs), rule, workers=workers, decode=measure_chunk):
                met.add(chunk.met)
        elif part.files is not None:
            for _, chunk in decode_all(part.files, rule, workers=workers, decode=measure_chunk):
                met.add(chunk.met)
        else:
            step = _rows_at_once(part)
            for first in range(0, len(part), step):
                rows = part.images[first : first + step]
                colours = rows[..., :-1] if rows.shape[-1] in (2, 4) else rows
                kind = kind_of_array(rows)
                if kind == "8-bit":
                    met.seen(int(colours.min()), int(colours.max()))
                    continue
                try:
                    to_levels(colours, kind, (0, 1), met)
                except DataError as error:
                    raise _of_array(error, part, contents) from None
    return met


def _batched(blobs: Iterable[bytes]) -> Iterator[list[Blob]]:
    """A few images at a time."""
    held: list[Blob] = []
    size = 0
    for blob in blobs:
        held.append(blob)
        size += len(blob)
        if len(held) == 64 or size >= CHUNK_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held
