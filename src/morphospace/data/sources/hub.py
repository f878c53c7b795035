"""`hub:OWNER/NAME`: data sets of the Hugging Face Hub, or local copies in their layout; none of their code is run."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morphospace.data.labels import Labels, read_labels
from morphospace.data.sources.base import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Contents,
    Part,
    SourceInfo,
    fingerprint,
    own_shape,
)
from morphospace.data.sources.folder import Folder
from morphospace.data.sources.layout import listed, split_in, split_of
from morphospace.errors import DataError, MissingExtra, SettingError, one_line

_FIRST = 256  # images whose headers say what shape all have


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        rule = "needs the extra 'hub'"
        raise MissingExtra("data=hub:...", rule=rule, way_out="pip install 'morphospace[hub]'") from None
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs of a damaged file our own error says
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = (
        False  # it would tell a server of every table that is read, local or not
    )
    return datasets


class _Rows:
    """Encoded images of a table's column, read a slice at a time."""

    def __init__(self, table: Any, column: str) -> None:
        self.table, self.column = table, column

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, at: slice) -> list[bytes | str]:
        return [self._blob(row) for row in self.table[at][self.column]]

    def _blob(self, row: Any) -> bytes | str:
        """The bytes; a path only where it lies in the Hub's own cache, for a table may name any file here."""
        if not isinstance(row, dict):
            return b""
        if isinstance(row.get("bytes"), bytes):
            return bytes(row["bytes"])
        if not isinstance(row.get("path"), str):
            return b""
        config = _datasets().config
        caches = [Path(str(c)).resolve() for c in (config.HF_CACHE_HOME, config.HF_DATASETS_CACHE)]
        path = Path(row["path"]).resolve()
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
        """Parquet files of the copy by split, which their names or else their folders say; if none does, all train."""
        files = sorted(self._copy.rglob("*.parquet")) if self._copy else []
        said = [split_in(file.name) or split_of(file.parent.name) for file in files]
        if not any(said):
            return {"train": files} if files else {}
        splits = [s for s in ("train", "valid", "test") if s in said]
        return {split: [file for file, own in zip(files, said) if own == split] for split in splits}

    @functools.cached_property
    def _unnamed(self) -> list[str]:
        """Parquet files of the copy that are in no split, though others are."""
        taken = {file for mine in self._parquet.values() for file in mine}
        every = sorted(self._copy.rglob("*.parquet")) if self._copy else []
        return [file.name for file in every if file not in taken]

    def here(self) -> bool:
        return self._copy is not None

    def anchored(self) -> str:
        return super().anchored() if self._copy == Path(self._text()).expanduser() else self.settings.data

    def at_hand(self) -> bool:
        return self._copy is not None

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
        datasets, data = _datasets(), self.settings.data
        if self.settings.labels:
            rule = "of tables, the labels are a column"
            raise SettingError(
                "labels", self.settings.labels, rule, f"call it {LABEL_COLUMNS[0]!r}, and leave labels out"
            )
        notes = [f"not read: {listed(self._unnamed)}, whose names say no split"] * bool(self._unnamed)
        tables: dict[str, Any] = {}
        for name, table in self._tables().items():
            split = split_of(name)
            if split is None or split in tables:
                why = "is no split" if split is None else f"would be a second split {split!r}"
                notes.append(f"not read: {name} with {len(table):,} rows, {why}")
            elif len(table):
                tables[split] = table
        if "train" not in tables:
            raise DataError(data, rule="has no split 'train' with images", way_out="give another set")
        parts, shape = dict[str, Part](), None
        said, used, more = _labels(tables)
        for split, table in tables.items():
            image = _column(data, table, IMAGE_COLUMNS)
            used.append(image)
            # A slice of the table decodes all its columns: sounds and films, and files that they name.
            table = table.select_columns([image])
            if not isinstance(table.features[image], dict):  # a struct of bytes and path is what we want already
                table = _undecoded(data, table, image, datasets)
            rows, numbers = _Rows(table, image), _Numbered(split, len(table))
            first = zip(map(numbers.__getitem__, range(_FIRST)), rows[:_FIRST])
            shape = shape or own_shape(data, first, self.settings, images="first images", way_out="check the column")
            labels, attributes = said.labels.get(split), said.attributes.get(split)
            parts[split] = Part(files=rows, labels=labels, attributes=attributes, names=numbers)
        assert shape is not None
        rest = [column for column in tables["train"].features if column not in used]
        notes += [*more, *[f"not read: the columns {listed(rest)}"] * bool(rest)]
        called = self._text().rstrip("/").split("/")[-1]
        names = {"label_names": said.names, "attribute_names": said.attribute_names}
        return Contents(called, parts, shape, notes=tuple(notes), **names)


def _labels(tables: Mapping[str, Any]) -> tuple[Labels, list[str], list[str]]:
    """Return classes or attributes of tables by split, the columns they come from, and notes on what is left out."""
    # Sounds, films and pictures are no labels: to look at them decodes them, and files that they name.
    features = {name: kind for name, kind in tables["train"].features.items() if not hasattr(kind, "decode_example")}
    sorts = [name for name, kind in features.items() if getattr(kind, "names", None)]
    column = next((word for word in LABEL_COLUMNS if word in features), sorts[0] if len(sorts) == 1 else None)
    if column is None:
        flags = [name for name, kind in features.items() if getattr(kind, "dtype", None) == "bool"]
        if not flags or any(
            getattr(table.features.get(flag), "dtype", None) != "bool" for table in tables.values() for flag in flags
        ):
            return Labels(), [], []
        columns = {split: [np.array(list(table[flag]), float) for flag in flags] for split, table in tables.items()}
        found = {split: np.stack(mine, axis=1) for split, mine in columns.items()}
        if not all(np.isfinite(mine).all() for mine in found.values()):
            return Labels(), [], []
        attributes = {split: mine.astype(np.uint8) for split, mine in found.items()}
        return Labels(attributes=attributes, attribute_names=tuple(flags)), flags, []
    inner = getattr(features[column], "feature", None)
    names = tuple(getattr(inner or features[column], "names", None) or ())
    try:
        values = {
            split: list(table[column])
            for split, table in tables.items()
            if type(table.features.get(column)) is type(features[column])
        }
        lost = [split for split in tables if split not in values or any(v is None for v in values[split])]
        if lost:
            raise DataError(rule=f"some rows of {lost[0]} have none")
        if inner is not None and (names or getattr(inner, "dtype", "") == "string"):
            names = names or tuple(sorted({word for mine in values.values() for row in mine for word in row}))
            known = {word: i for i, word in enumerate(names)} | {i: i for i in range(len(names))}
            made = {split: np.zeros((len(mine), len(names)), np.uint8) for split, mine in values.items()}
            for split, mine in values.items():
                for row, several in enumerate(mine):
                    made[split][row, [known[word] for word in several]] = 1
            return Labels(attributes=made, attribute_names=names), [column], []
        said = read_labels(column, {split: np.array(mine) for split, mine in values.items()}, names)
    except (DataError, ValueError, TypeError, KeyError) as error:
        why = error.reason if isinstance(error, DataError) else one_line(error)
        return Labels(), [column], [f"not read: the labels in the column {column} ({why})"]
    return replace(said, names=names or said.names), [column], []


def _undecoded(data: str, table: Any, image: str, datasets: Any) -> Any:
    """A table whose column of images gives their bytes.

    Raises:
        DataError: If it is no column of images.
    """
    try:
        return table.cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # it raises whatever its many libraries do
        rule = f"its column {image!r} holds no images ({one_line(error)})"
        raise DataError(data, rule=rule, way_out="give another set") from None


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
