"""Labels of images that stand in a file beside them: CSV, TSV, JSON, or lines of JSON."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphospace.data.pack import composed
from morphospace.errors import DataError, SettingError, one_line

MOST_BYTES = 256 << 20  # of one file
_FILE, _LABEL = "file", "label"
_LABEL_NAMES = ("label", "labels", "class", "cls", "category", "target", "y", "species", "fine_label")
_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "-1": 0, "-1.0": 0, "false": 0, "true": 1}
_LOOKED_AT = 500  # rows that tell which column names the images
_FORMS = "give rows with a file name and a label as .csv, .tsv, .json or .jsonl"


@dataclass(frozen=True)
class LabelFile:
    """A file of labels.

    Attributes:
        name: What to call it.
        content: Its bytes.
        column: The column to take; empty to find it.
        folder: The folder of the tree that it lies in, with its slash; its names may be relative to it.
        split: The split that its name speaks of, which decides between images of one name; None if none.
    """

    name: str
    content: bytes
    column: str = ""
    folder: str = ""
    split: str | None = None


@dataclass(frozen=True)
class Labelled:
    """What files say of images.

    Attributes:
        values: The class, or 0 or 1 for each of `columns`, by the image's name.
        columns: Names of the columns of 0 and 1; empty if the values are classes.
        notes: Lines on rows and images that do not fit each other, and on columns not read.
    """

    values: Mapping[str, str | tuple[int, ...]]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def labels_of(files: Sequence[LabelFile], images: Sequence[str], split: Callable[[str], str]) -> Labelled:
    """Return what files say of images, of which they name some.

    Args:
        files: At least one; all of one form.
        images: Relative names.
        split: Returns the split of one of them.

    Raises:
        DataError: If a file cannot be read, names no image, or leaves open which column holds the labels.
    """
    index = _index(images)
    values: dict[str, str | tuple[int, ...]] = {}
    notes: list[str] = []
    columns: tuple[str, ...] | None = None

    def headless(lines: list[list[str]]) -> bool:
        return any(_keys(cell) & index.keys() for cell in lines[0])

    for file in files:
        rows = _rows(file, headless)
        column = _file_column(file, rows, index, images)
        taken, rest = _label_columns(file, rows, column)
        flags = tuple(taken) if len(taken) > 1 else ()
        if columns not in (None, flags):
            raise DataError(file.name, rule="has other columns than the file before it", way_out="give one of them")
        columns = flags
        strange, again, empty = list[str](), 0, 0
        for row in rows:
            name = _image(file, str(row.get(column, "")), index, split)
            value = _value(row, taken)
            if name is None:
                strange.append(str(row.get(column, "")))
            elif value is None:
                empty += 1
            elif name in values:
                again += 1
            else:
                values[name] = value
        if strange:
            notes.append(f"{file.name}: {len(strange):,} rows name no image here, the first {strange[0]!r:.60}")
        if again:
            notes.append(f"{file.name}: {again:,} rows name an image again, whose first row is taken")
        if empty:
            notes.append(f"{file.name}: {empty:,} rows have no label")
        if rest:
            notes.append(_rest_note(file, rest))
    lost = [name for name in images if name not in values]
    if lost:
        called = " and ".join(file.name for file in files[:2])
        notes.append(f"{len(lost):,} images have no label in {called} and are left out, the first {lost[0]}")
    _check_classes(files[0], values.values(), columns or ())
    return Labelled(values, columns or (), tuple(notes))


def labels_in_order(file: LabelFile, count: int) -> tuple[list[str | tuple[int, ...]], tuple[str, ...], list[str]]:
    """Return what a file says of images that have no names: a row for each, in their order.

    A column that numbers the rows from 0 says the order itself.

    Args:
        file: The file.
        count: How many images there are.

    Returns:
        The class of each, or 0 or 1 for each of the columns; these columns; and notes.

    Raises:
        DataError: If the file has another number of rows, a row without a label, or leaves open which column to take.
    """
    rows = _rows(
        file, lambda lines: len(lines) == count and not {*_LABEL_NAMES} & {cell.casefold() for cell in lines[0]}
    )
    if len(rows) != count:
        rule = f"has {len(rows):,} row{'s' if len(rows) > 1 else ''} for {count:,} images"
        raise DataError(file.name, rule=rule, way_out="give one row for each image, in their order")
    heads = list(rows[0])
    numbers = {str(number): number for number in range(count)}
    places = {head: [numbers.get(str(row.get(head)).strip(), -1) for row in rows] for head in heads[:9]}
    order = next((head for head in places if len(heads) > 1 and set(places[head]) == set(range(count))), "")
    taken, rest = _label_columns(file, rows, order)
    if order:
        rows = [row for _, row in sorted(zip(places[order], rows), key=lambda pair: pair[0])]
    values = [_value(row, taken) for row in rows]
    whole = [value for value in values if value is not None]
    if len(whole) < count:
        rule = f"says nothing of {count - len(whole):,} images, of which the first is number {values.index(None):,}"
        raise DataError(file.name, rule=rule, way_out="give each image a label")
    notes = [_rest_note(file, rest)] if rest else []
    columns = tuple(taken) if len(taken) > 1 else ()
    _check_classes(file, whole, columns)
    return whole, columns, notes


def _rest_note(file: LabelFile, rest: Sequence[str]) -> str:
    return f"{file.name}: not read: the columns {', '.join(rest[:5])}{', ...' if len(rest) > 5 else ''}"


def _check_classes(file: LabelFile, values: Collection[str | tuple[int, ...]], columns: Sequence[str]) -> None:
    distinct = set(values)
    if not columns and len(values) >= 20 and len(distinct) > len(values) / 2:
        rule = f"says {len(distinct):,} different things of {len(values):,} images, which are no classes"
        raise DataError(file.name, rule=rule, way_out="name the column of labels, as --labels FILE#COLUMN")


def given_file(text: str) -> tuple[Path | None, str, str]:
    """Return the path that `FILE` or `FILE#COLUMN` names, None if nothing is there; the name and the column."""
    name, column = (text, "") if Path(text).expanduser().is_file() else text.partition("#")[::2]
    path = Path(name).expanduser()
    return (path if path.is_file() else None), name, column


def given_files(labels: Sequence[str]) -> list[tuple[Path, str, str]]:
    """Return path, name and column of each `FILE#COLUMN`, for sources whose files of labels lie outside of them.

    Raises:
        SettingError: If there is no such file.
    """
    found = []
    for text in labels:
        path, name, column = given_file(text)
        if path is None:
            raise SettingError("labels", text, "there is no such file", "check the path")
        found.append((path, name, column))
    return found


def content_of(path: Path) -> bytes:
    """Return the content of a file of labels.

    Raises:
        DataError: If it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(path, rule=f"has more than {MOST_BYTES >> 20} MB", way_out="give the rows that are needed")
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, rule=f"cannot be read ({error.strerror})", way_out="check the file") from None


def sorted_classes(values: Iterable[str]) -> list[str]:
    """Return class names in order, by number if all are numbers.

    >>> sorted_classes(["10", "9"]), sorted_classes(["b", "10", "a"])
    (['9', '10'], ['10', 'a', 'b'])
    """
    names = set(values)
    return sorted(names, key=(lambda name: (int(name), name)) if all(map(_is_number, names)) else None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _rows(file: LabelFile, headless: Callable[[list[list[str]]], bool]) -> list[dict[str, Any]]:
    """Return the rows of a file by column; of the lines of a CSV, `headless` says if the first is a row too."""
    text = _text(file.content)
    if "\0" in text:
        raise DataError(file.name, rule="is no text", way_out=_FORMS)
    ending = file.name.lower().rpartition(".")[2]
    try:
        if ending in ("jsonl", "ndjson"):
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        elif ending == "json":
            rows = _json_rows(json.loads(text))
        else:
            rows = _csv_rows(text, headless)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(file.name, rule=f"cannot be read as .{ending} ({one_line(error)})", way_out=_FORMS) from None
    rows = [row if isinstance(row, dict | list) else {_LABEL: row} for row in rows]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(file.name, rule="has no rows of names and labels", way_out=_FORMS)
    return [_spread(row) for row in rows]


def _text(content: bytes) -> str:
    """Return a file's text: UTF-8, UTF-16 with its mark, or else what Windows writes in the west of Europe."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _json_rows(said: Any) -> list[dict[str, Any]]:
    """Return rows of a list of objects, of stylegan's `labels`, of COCO, or of an object by file name."""
    if isinstance(said, list):
        return said
    if not isinstance(said, dict):
        raise ValueError("it is no object and no list")
    if isinstance(said.get("annotations"), list) and isinstance(said.get("images"), list):
        names = {one["id"]: str(one["name"]) for one in said.get("categories", ())}
        rows = {one["id"]: {_FILE: one["file_name"], **dict.fromkeys(names.values(), 0)} for one in said["images"]}
        for one in said["annotations"]:
            rows[one["image_id"]][names[one["category_id"]]] = 1
        return list(rows.values())
    if "labels" in said:
        said = said["labels"]
        if said is None:
            return []
    pairs = said.items() if isinstance(said, dict) else said
    return [{_FILE: name, **(value if isinstance(value, dict) else {_LABEL: value})} for name, value in pairs]


def _csv_rows(text: str, headless: Callable[[list[list[str]]], bool]) -> list[dict[str, Any]]:
    first = text.partition("\n")[0]
    mark = max(",\t;|", key=first.count)
    lines = list(csv.reader(io.StringIO(text), delimiter=mark) if mark in first else map(str.split, text.splitlines()))
    lines = [[cell.strip() for cell in line] for line in lines if any(cell.strip() for cell in line)]
    if not lines:
        return []
    heads = [f"column {i + 1}" for i in range(len(lines[0]))] if headless(lines) else lines.pop(0)
    return [dict(zip(heads, line)) for line in lines]


def _spread(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in which a list of numbers has a column for each of them."""
    made: dict[str, Any] = {}
    for key, value in row.items():
        several = isinstance(value, list) and all(isinstance(one, int | float) for one in value)
        made |= {composed(f"{key} {i}"): one for i, one in enumerate(value)} if several else {composed(str(key)): value}
    return made


def _plain(text: str) -> str:
    """Return the name of a file as it is compared: with slashes, without case, its accents written in one way."""
    return composed(text.replace("\\", "/").removeprefix("./").casefold())


def _keys(text: str) -> set[str]:
    """Return what an image may be looked up by: its path, the ends of its path, and these without the file's ending."""
    parts = _plain(text).split("/")
    ends = {"/".join(parts[i:]) for i in range(len(parts))}
    return {key for end in ends for key in (end, _stem(end)) if key}


def _stem(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)


def _index(images: Iterable[str]) -> dict[str, list[str]]:
    """Return images by all they may be called."""
    found: dict[str, list[str]] = {}
    for name in images:
        for key in _keys(name):
            found.setdefault(key, []).append(name)
    return found


def _image(
    file: LabelFile, text: str, index: Mapping[str, list[str]], split: Callable[[str], str] | None
) -> str | None:
    """Return the image that a text names; None if there is none.

    Raises:
        DataError: If it could be one of several.
    """
    path = _plain(text)
    parts = path.split("/")
    for key in (_plain(file.folder) + path, *("/".join(parts[i:]) for i in range(len(parts)))):
        found = index.get(key)
        if not found:
            continue
        if len(found) > 1 and split is not None:
            mine = [name for name in found if name.startswith(file.folder)] if file.folder else found
            found = (
                mine if file.split is None or len(mine) == 1 else [name for name in mine if split(name) == file.split]
            )
            if len(found) > 1:
                rule = f"names {text!r:.60}, and there are {found[0]} and {found[1]}"
                raise DataError(file.name, rule=rule, way_out="write the folder before the name")
        return found[0] if found else None
    return None


def _file_column(
    file: LabelFile, rows: Sequence[Mapping[str, Any]], index: Mapping[str, list[str]], images: Sequence[str]
) -> str:
    """Return the column that names the images: the one most of whose values do."""
    some = rows[:: max(1, len(rows) // _LOOKED_AT)]
    counts = {
        head: sum(_image(file, str(row.get(head, "")), index, None) is not None for row in some) for head in rows[0]
    }
    best = max(counts, key=counts.__getitem__, default="")
    if not counts or not counts[best]:
        shown = ", ".join(str(value) for value in rows[0].values())
        rule = f"names no image here (its first row is {shown!r:.80}, the first image {images[0]})"
        raise DataError(file.name, rule=rule, way_out="write the names as the files are called")
    return best


def _label_columns(file: LabelFile, rows: Sequence[Mapping[str, Any]], column: str) -> tuple[list[str], list[str]]:
    """Return the columns of labels, and those that are not read.

    Raises:
        DataError: If it is not clear which they are.
    """
    others = list(dict.fromkeys(head for row in rows for head in row if head != column))
    if file.column:
        asked = composed(file.column)
        if asked not in others:
            raise DataError(file.name, rule=f"has no column {file.column!r}", way_out=f"it has {', '.join(others[:9])}")
        return [asked], [head for head in others if head != asked]
    known = [head for word in _LABEL_NAMES for head in others if head.casefold() == word]
    flags = [head for head in others if all(str(row.get(head)).strip().casefold() in _FLAGS for row in rows)]
    taken = known[:1] or (flags if len(flags) > 1 else others if len(others) == 1 else [])
    if not taken:
        rule = (
            f"leaves open which column holds the labels: {', '.join(others[:9])}"
            if others
            else "has no column of labels"
        )
        raise DataError(file.name, rule=rule, way_out="name it, as --labels FILE#COLUMN" if others else _FORMS)
    return taken, [head for head in others if head not in taken]


def _value(row: Mapping[str, Any], columns: Sequence[str]) -> str | tuple[int, ...] | None:
    """Return a row's class, or its 0 and 1; None if it has none."""
    if len(columns) > 1:
        return tuple(_FLAGS[str(row.get(head)).strip().casefold()] for head in columns)
    value = row.get(columns[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    whole = text.removesuffix(".0")
    return (whole if _is_number(whole) else composed(text)) or None
