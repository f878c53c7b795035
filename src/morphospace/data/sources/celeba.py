"""CelebA, aligned and cropped: faces with 40 attributes, in any of the layouts in which it is distributed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, HandFetched, Part, SourceInfo, damaged, fingerprint
from morphospace.errors import DataError, one_line

_SPLITS = ("train", "valid", "test")
_HOME = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_LISTS = ("list_attr_celeba", "list_eval_partition")


class CelebA(HandFetched):
    """Uses the images that are on disk; attributes become 0 or 1; the published split.

    Found in `ROOT/celeba` or `ROOT`, with the images in `img_align_celeba/`, in
    `img_align_celeba/img_align_celeba/` (Kaggle) or in `Img/img_align_celeba/` (the authors' own), and lists
    as `.txt` or `.csv` beside them.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="celeba",
        description="202,599 aligned faces with 40 attributes",
        licence="non-commercial research only; no further copying or distribution",
        shape=(64, 64, 3),
        where=_HOME,
        size="1.4 GB",
        embedded="toyfaces",
    )
    refusal = f"{HandFetched.refusal} ({info.licence.replace(';', ',')})"

    def _find(self) -> tuple[Path, Path] | None:
        if self.root is None:
            return None
        for base in (self.root / "celeba", self.root / "CelebA", self.root):
            for inner in ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba"):
                if (base / inner).is_dir():
                    return base, base / inner
        return None

    def _manual(self) -> str:
        folder = self.root / "celeba" if self.root else "ROOT/celeba (root= or MORPHOSPACE_DATA names ROOT)"
        files = "img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt"
        return f"get {files} from {_HOME} and unpack them into {folder}"

    def _lost(self) -> str:
        return f"no img_align_celeba below {self.root or 'ROOT (none is given)'}"

    def _list(self, stem: str) -> Path | None:
        base, images = self._located()
        folders = (base, images.parent, images.parent.parent, base / "Anno", base / "Eval")
        places = [folder / (stem + ending) for folder in folders for ending in (".txt", ".csv")]
        return next((place for place in places if place.is_file()), None)

    def _present(self) -> list[str]:
        folder = self._located()[1]
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.lower().endswith((".jpg", ".jpeg", ".png")))
        if not names:
            raise DataError(folder, rule="has no image", way_out=self._manual())
        return names

    def inputs(self) -> Mapping[str, Any]:
        folder = self._located()[1]
        lists = [place for stem in _LISTS if (place := self._list(stem))]
        said = {place.name: fingerprint(place.parent, [place.name]) for place in lists}
        return {"images": fingerprint(folder, self._present()), "lists": said}

    def read(self) -> Contents:
        folder = self._located()[1]
        names = self._present()
        present, notes = len(names), []
        columns, attributes, listed = read_attributes(self._list("list_attr_celeba"), set(names))
        if listed is None:
            notes.append("celeba: no list_attr_celeba (.txt or .csv) is here, so images have no attributes")
        else:
            notes.append(f"celeba: {len(attributes):,} of {listed:,} listed images are here")
        partition = self._partition(set(names))
        if partition is None:
            notes.append("celeba: no list_eval_partition (.txt or .csv) is here, so all images are in train")
            partition = dict.fromkeys(names, 0)
        names = [n for n in names if n in partition and (listed is None or n in attributes)]
        if len(names) < present:
            notes.append(f"celeba: {present - len(names):,} images are in no list and are left out")
        parts = {}
        for number, split in enumerate(_SPLITS):
            mine = [n for n in names if partition[n] == number]
            if mine:
                table = None if listed is None else np.stack([attributes[n] for n in mine])
                parts[split] = Part(files=[str(folder / n) for n in mine], attributes=table, names=mine)
        if "train" not in parts:
            rule = f"none of its {present:,} images is listed for training"
            raise DataError(folder, rule=rule, way_out="check the lists beside it")
        return Contents("celeba", parts, (64, 64, 3), attribute_names=columns, notes=tuple(notes))

    def _partition(self, wanted: set[str]) -> dict[str, int] | None:
        path = self._list("list_eval_partition")
        if path is None:
            return None
        table = {}
        for number, name, rest in _rows(path):
            if name in wanted and rest in ("0", "1", "2"):
                table[name] = int(rest)
            elif name in wanted:
                raise damaged(path, f"line {number} must be a file name and 0, 1 or 2")
        return table


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, first word and the rest of each line that has any, commas made spaces.

    The rest is left whole: of 202,599 lines with 40 values only those of present images need taking apart.
    """
    comma = path.suffix == ".csv"
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                name, _, rest = (line.replace(",", " ") if comma else line).strip().partition(" ")
                if name:
                    yield number, name, rest.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, f"cannot be read ({one_line(error)})") from None


def read_attributes(path: Path | None, wanted: set[str]) -> tuple[tuple[str, ...], dict[str, np.ndarray], int | None]:
    """Names of the attributes, rows of the wanted images, and how many images the list names."""
    if path is None:
        return (), {}, None
    lines = _rows(path)
    head = next(lines, (0, "", ""))
    if path.suffix == ".txt":  # its first line is the count
        head = next(lines, (0, "", ""))
    columns = tuple(word for word in (head[1], *head[2].split()) if word not in ("", "image_id"))
    if not columns:
        raise damaged(path, "has no line of attribute names")
    table, listed = {}, 0
    for number, name, rest in lines:
        listed += 1
        if name not in wanted:
            continue
        try:
            row = np.array(rest.split(), dtype=np.int8)
        except (ValueError, OverflowError):
            row = np.array([], dtype=np.int8)
        if len(row) != len(columns) or not np.isin(row, (-1, 0, 1)).all():
            raise damaged(path, f"line {number} must have {len(columns)} values of -1 or 1")
        table[name] = (row > 0).astype(np.uint8)
    return columns, table, listed
