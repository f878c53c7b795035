"""Labels in the forms that people keep them in: numbers, names, one-hot rows, or columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from morphospace.data.pack import MOST_CLASSES
from morphospace.errors import DataError

WANTED = "give class numbers or names (N,), one-hot rows (N, K), or columns of 0 and 1 (N, K)"


@dataclass(frozen=True)
class Labels:
    """Classes or attributes of the images of each split.

    Attributes:
        labels: Class numbers (N,) by split; empty if these are attributes.
        names: Of the classes; empty if they are numbers.
        attributes: 0 or 1, (N, K), by split; empty if these are classes.
        attribute_names: Of the columns.
    """

    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    attribute_names: tuple[str, ...] = ()


def read_labels(place: object, tables: Mapping[str, np.ndarray], columns: Sequence[str] = ()) -> Labels:
    """Return what tables of labels say: text or numbers are classes, rows with a single 1 too, other rows attributes.

    Args:
        place: Where they come from, for messages.
        tables: (N,), (N, 1) or (N, K) by split; at least one.
        columns: Names of the K columns.

    Raises:
        DataError: If they are none of these; says what is wanted.

    >>> read_labels("here", {"train": np.array(["dog", "cat"])}).names
    ('cat', 'dog')
    >>> read_labels("here", {"train": np.eye(3)}).labels["train"].tolist()
    [0, 1, 2]
    >>> read_labels("here", {"train": np.array([[1, 1], [0, 1]])}).attribute_names
    ('label 0', 'label 1')
    """
    tables = {
        split: table[:, 0] if table.ndim == 2 and table.shape[1] == 1 else table for split, table in tables.items()
    }
    kinds = {table.dtype.kind for table in tables.values()}
    shapes = {table.shape[1:] for table in tables.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) > 1:
        raise DataError(place, rule=f"labels have the shapes {', '.join(_shapes(tables))}", way_out=WANTED)
    if kinds <= set("US") and shapes == {()}:
        text = {
            split: np.char.decode(t, "utf-8", "replace") if t.dtype.kind == "S" else t for split, t in tables.items()
        }
        words = np.unique(np.concatenate(list(text.values())))
        numbers = {split: np.searchsorted(words, table).astype(np.int64) for split, table in text.items()}
        return Labels(numbers, tuple(words.tolist()))
    if not kinds <= set("biuf"):
        types = ", ".join(sorted({str(table.dtype) for table in tables.values()}))
        raise DataError(place, rule=f"labels are {types} {', '.join(_shapes(tables))}", way_out=WANTED)
    if shapes == {()}:
        return Labels({split: _numbers(place, table) for split, table in tables.items()})
    if not all(np.isin(table, (0, 1)).all() for table in tables.values()):
        rule = f"labels are {', '.join(_shapes(tables))}, with other values than 0 and 1"
        raise DataError(place, rule=rule, way_out=WANTED)
    if all((table.sum(axis=1) == 1).all() for table in tables.values()):
        return Labels({split: table.argmax(axis=1).astype(np.int64) for split, table in tables.items()}, tuple(columns))
    named = tuple(columns) or tuple(f"label {i}" for i in range(next(iter(shapes))[0]))
    return Labels(attributes={split: table.astype(np.uint8) for split, table in tables.items()}, attribute_names=named)


def without_gaps(labels: Mapping[str, np.ndarray]) -> tuple[Mapping[str, np.ndarray], tuple[str, ...]]:
    """Number classes anew if their numbers leave some out: a class is what occurs, and its old number is its name.

    Args:
        labels: Class numbers (N,) by split.

    Returns:
        The numbers and the names. The labels as they are and no names if they count from 0 without a gap, or if there
        are too many to be classes.

    >>> without_gaps({"train": np.array([900, 3, 7])})
    ({'train': array([2, 0, 1])}, ('3', '7', '900'))
    >>> without_gaps({"train": np.array([0, 2, 1])})[1]
    ()
    """
    found = np.unique(np.concatenate([np.unique(numbers) for numbers in labels.values()] or [np.empty(0, np.int64)]))
    if not len(found) or found[0] < 0 or found[-1] == len(found) - 1 or len(found) > MOST_CLASSES:
        return labels, ()
    anew = {split: np.searchsorted(found, numbers) for split, numbers in labels.items()}
    return anew, tuple(map(str, found.tolist()))


def gap_note(names: Sequence[str]) -> str:
    """Return a line that says how classes are named whose numbers leave some out."""
    shown = ", ".join(names[:5]) + (f", ... {names[-1]}" if len(names) > 5 else "")
    return f"labels are the numbers {shown}: each of the {len(names):,} is a class with its number as its name"


def _shapes(tables: Mapping[str, np.ndarray]) -> list[str]:
    return sorted({str(table.shape) for table in tables.values()})


def _numbers(place: object, table: np.ndarray) -> np.ndarray:
    """Return class numbers as int64."""
    with np.errstate(invalid="ignore"):
        numbers = table.astype(np.int64)
    if not (numbers == table).all():
        raise DataError(place, rule="labels are not whole numbers below 2**63", way_out=WANTED)
    negative = int((numbers < 0).sum())
    if negative:
        rule = f"{negative:,} labels are below 0"
        raise DataError(place, rule=rule, way_out="number classes from 0, and leave images without a class out")
    return numbers
