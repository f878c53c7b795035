"""`hub:OWNER/NAME`: data sets of the Hugging Face Hub, or local copies in their layout; none of their code is run."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.sources.base import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLITS,
    Contents,
    Part,
    SourceInfo,
    fingerprint,
    own_shape,
)
from morphospace.data.sources.folder import Folder
from morphospace.errors import DataError, MissingExtra, one_line

_SPLITS = SPLITS | {"dev": "valid"}
_FIRST = 256  # images whose headers say what shape all have


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        rule = "needs the extra 'hub'"
        raise MissingExtra("data=hub:...", rule=rule, way_out="pip install 'morphospace[hub]'") from None
    datasets.disable_progress_bars()
    return datasets


class _Rows:
    """Encoded images of a table's column, read a slice at a time."""

    def __init__(self, table: Any, column: str) -> None:
        self.table, self.column = table, column

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, at: slice) -> list[bytes | str]:
        return [self._blob(row or {}) for row in self.table[at][self.column]]

    def _blob(self, row: Mapping[str, Any]) -> bytes | str:
        """The bytes; a path only where it lies in the Hub's own cache, for a table may name any file here."""
        if row.get("bytes"):
            return bytes(row["bytes"])
        config = _datasets().config
        caches = [Path(str(c)).resolve() for c in (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE)]
        path = Path(row.get("path") or "").resolve()
        return str(path) if path.is_file() and any(path.is_relative_to(cache) for cache in caches) else b""


class Hub(Folder):
    """`hub:OWNER/NAME`, or `hub:PATH` of a local copy.

    A copy is also looked for in `ROOT/OWNER/NAME` and `ROOT/NAME`; it is read with no network: parquet files (in it
    or in its `data/`), named by split as the Hub does (`train-00000-of-00004.parquet`), or else a folder of images
    in class folders. What is not here is downloaded by `datasets` into its own cache; loading scripts are never run.
    """

    info: ClassVar[SourceInfo] = SourceInfo(
        name="hub",
        description="hub:OWNER/NAME, a data set of the Hugging Face Hub; local copies need no network",
        licence="as the set's page says",
        shape=None,
        where="https://huggingface.co/datasets",
    )
    form = ("data set", "OWNER/NAME")

    @functools.cached_property
    def _copy(self) -> Path | None:
        """The folder of a local copy, if there is one."""
        text = self._text()
        places = [Path(text).expanduser()]
        if self.root is not None and not Path(text).is_absolute():
            places += [self.root / text, self.root / text.split("/")[-1]]
        return next((place for place in places if place.is_dir()), None)

    def _base(self) -> Path:
        assert self._copy is not None
        return self._copy

    @functools.cached_property
    def _parquet(self) -> dict[str, list[Path]]:
        """Parquet files of the copy by split."""
        found: dict[str, list[Path]] = {}
        for file in sorted(self._copy.rglob("*.parquet")) if self._copy else []:
            word = re.split(r"[-_.]", file.name)[0].lower()
            inside = file.parent.name.lower()
            split = _SPLITS.get(word) or _SPLITS.get(inside)
            if split is None and word in ("data", "part", "0000", "00000"):
                split = "train"
            if split is not None:
                found.setdefault(split, []).append(file)
        return found

    def here(self) -> bool:
        return self._copy is not None

    def anchored(self) -> str:
        return super().anchored() if self._copy == Path(self._text()).expanduser() else self.settings.data

    def identity(self) -> str:
        return str(self._copy.resolve()) if self._copy else self._text()

    def inputs(self) -> Mapping[str, Any]:
        if self._copy is None:
            return {"hub": self._text()}
        if self._parquet:
            files = [str(f.relative_to(self._copy)) for mine in self._parquet.values() for f in mine]
            return fingerprint(self._copy, files)
        return super().inputs()

    def fetch(self) -> Path | None:
        if self._copy is None:
            tables = self._tables()
            files = [file["filename"] for table in tables.values() for file in getattr(table, "cache_files", ())]
            return Path(files[0]).parent if files else Path(_datasets().config.HF_DATASETS_CACHE)
        return self._copy

    def _tables(self) -> Mapping[str, Any]:
        """Tables by split."""
        if self._copy is None and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self._text()):
            raise DataError("data", self.settings.data, "neither a folder nor OWNER/NAME", "check it")
        datasets = _datasets()
        try:
            if self._copy is None:
                return datasets.load_dataset(self._text())
            files = {split: [str(f) for f in mine] for split, mine in self._parquet.items()}
            cache = str(self.cache / "datasets")
            return datasets.load_dataset("parquet", data_files=files, cache_dir=cache)
        except Exception as error:  # it raises whatever its many libraries do
            rule = f"cannot be loaded ({type(error).__name__}: {one_line(error)})"
            way_out = "check the name and the network, or give the folder of a copy"
            raise DataError(self.settings.data, rule=rule, way_out=way_out) from None

    def read(self) -> Contents:
        if self._copy is not None and not self._parquet:
            return super().read()
        datasets, parts = _datasets(), {}
        classes: tuple[str, ...] = ()
        shape: tuple[int, int, int] | None = None
        for name, table in self._tables().items():
            split = _SPLITS.get(name)
            if split is None or len(table) == 0:
                continue
            image = _column(self.settings.data, table, IMAGE_COLUMNS)
            if not isinstance(table.features[image], dict):  # a struct of bytes and path is what we want already
                table = table.cast_column(image, datasets.Image(decode=False))
            rows = _Rows(table, image)
            label = next((word for word in LABEL_COLUMNS if word in table.features), None)
            labels = None
            if label is not None:
                labels = np.asarray(table[label])
                classes = tuple(getattr(table.features[label], "names", None) or ()) or classes
                if labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min() < 0:
                    labels = None
            numbers = _Numbered(name, len(rows))
            first = zip(map(numbers.__getitem__, range(_FIRST)), rows[:_FIRST])
            shape = shape or own_shape(
                self.settings.data, first, self.settings, images="first images", way_out="check the column"
            )
            parts[split] = Part(files=rows, labels=labels, names=numbers)
        if "train" not in parts or shape is None:
            raise DataError(self.settings.data, rule="has no split 'train' with images", way_out="give another set")
        if any(part.labels is None for part in parts.values()):
            parts = {s: Part(files=p.files, names=p.names) for s, p in parts.items()}
            classes = ()
        return Contents(self._text().rstrip("/").split("/")[-1], parts, shape, label_names=classes)


class _Numbered(Sequence[str]):
    """Names of rows in messages, made on demand."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.rows = name, count

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: Any) -> Any:
        return f"{self.name}[{row}]"


def _column(data: str, table: Any, known: Sequence[str]) -> str:
    images = [name for name, kind in table.features.items() if type(kind).__name__ == "Image"]
    named = [name for name in known if name in table.features]
    if not images and not named:
        rule = f"has no column of images (it has {', '.join(table.features)})"
        raise DataError(data, rule=rule, way_out="give another set")
    return (images or named)[0]
