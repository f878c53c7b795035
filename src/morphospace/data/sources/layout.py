"""Which folders and names of a set are its splits: one table of words, and one rule for trees of folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from morphospace.data.pack import composed
from morphospace.errors import DataError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validate", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Split by the word that folders, tables, arrays and shards name it with, as on the Hugging Face Hub."""
_BESIDE = frozenset(("set", "data", "dataset", "split", "images", "image", "imgs", "img"))  # `train_images` is `train`
_SHOWN = 3


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case; years are left out and other numbers are words.

    >>> words_of("TrainImages"), words_of("val2017"), words_of("test_1"), words_of("trainset")
    (['train', 'images'], ['val'], ['test', '1'], ['train', 'set'])
    """
    words = re.findall("[a-z]+|[0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())
    pairs = [(w[:-3], "set") if w.endswith("set") and w[:-3] in SPLITS else (w,) for w in words]
    return [word for pair in pairs for word in pair if not re.fullmatch("(19|20)[0-9]{2}", word)]


def split_of(folder: str) -> str | None:
    """Return the split that a folder is named after; None if its name says more than a split.

    >>> split_of("Training"), split_of("test_set"), split_of("VAL"), split_of("test 1"), split_of("cats")
    ('train', 'test', 'valid', None, None)
    """
    words = [word for word in words_of(folder) if word not in _BESIDE]
    return SPLITS.get(words[0]) if len(words) == 1 else None


def split_in(name: str) -> str | None:
    """Return the one split that a file's name speaks of; None if there is none, or more than one.

    >>> split_in("train-00000-of-00004.parquet"), split_in("birds_val_07.tar"), split_in("birds.tar")
    ('train', 'valid', None)
    """
    found = {SPLITS[word] for word in words_of(name) if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def listed(names: Sequence[str], join: str = ", ") -> str:
    """Return the first names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return join.join(names[:_SHOWN]) + more


@dataclass(frozen=True)
class Layout:
    """What the folders of a tree of images stand for.

    Attributes:
        top: Leading folders that hold everything, and mean nothing.
        at: Position, below them, of the folder that names the split; None if there are no splits.
        inner: Further folders below the split that mean nothing, as in `test/test/cats`.
        notes: Lines on folders that look like splits and are not taken as such.
    """

    top: int = 0
    at: int | None = None
    inner: int = 0
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> str:
        """Return the split of an image by its relative name."""
        folders = name.split("/")[self.top : -1]
        return "train" if self.at is None or len(folders) <= self.at else split_of(folders[self.at]) or "train"

    def label(self, name: str) -> str | None:
        """Return the folder that is an image's class: the first that means neither set nor split.

        Its accents are written in one way, so that folders of two systems are one class.
        """
        folders = name.split("/")[self.top : -1]
        if self.at is not None:
            del folders[self.at]
        return composed(folders[self.inner]) if len(folders) > self.inner else None


def find_layout(place: object, folders: Iterable[str]) -> Layout:
    """Return what folders mean, from the folders that hold images directly.

    A single folder that holds all others is passed over. Folders are splits if all beside them are, and one of them
    is `train`; they may stand at the top, or inside each class. Otherwise all images are for training.

    Args:
        place: The set, for messages.
        folders: Relative paths with `/`; the empty one where images lie in no folder.

    Raises:
        DataError: If loose images lie beside splits, or if two folders name one split.
    """
    paths = {tuple(folder.split("/")) if folder else () for folder in folders}
    top = 0
    while len({path[: top + 1] for path in paths}) == 1 and all(len(path) > top + 1 for path in paths):
        top += 1
    over = next(iter(paths), ())[:top]
    rests = {path[top:] for path in paths}
    for at in (0, 1):
        names = sorted({rest[at] for rest in rests if len(rest) > at})
        splits = [split_of(name) for name in names]
        loose = any(len(rest) <= at for rest in rests)
        taken = bool(names) and None not in splits and "train" in splits and (at == 0 or len(set(splits)) > 1)
        if taken and loose and at == 0 and len(set(splits)) > 1:
            rule = f"has the splits {', '.join(names)} and beside them images in no folder, which are in no split"
            raise DataError(place, rule=rule, way_out="move these into one, or away")
        if not taken or loose:
            continue
        for split in ("train", "valid", "test"):
            same = [name for name, own in zip(names, splits) if own == split]
            if len(same) > 1:
                rule = f"has more than one folder for the split {split!r}: {', '.join(same)}"
                raise DataError(place, rule=rule, way_out="keep one of them, or make them one")
        return Layout(top, at, _inner(rests) if at == 0 else 0)
    return Layout(top, notes=tuple(_not_taken(over, rests)))


def _inner(rests: Iterable[tuple[str, ...]]) -> int:
    """Return how many folders below the splits hold everything, and are named alike or like their split."""
    inner = 0
    while True:
        below = {(rest[0], rest[1 + inner : 2 + inner]) for rest in rests if len(rest) > 2 + inner}
        names = {name for _, name in below}
        alone = len(below) == len({rest[0] for rest in rests}) and all(len(rest) > 2 + inner for rest in rests)
        if not alone or not (len(names) == 1 or all(split_of(name[0]) == split_of(split) for split, name in below)):
            return inner
        inner += 1


def _not_taken(over: tuple[str, ...], rests: Iterable[tuple[str, ...]]) -> Iterable[str]:
    """Yield lines on folders that look like splits, in a set that has none."""
    for name in over:
        if split_of(name) not in (None, "train"):
            yield f"{name}/ holds all images, so they are for training"
    for at in (0, 1):
        folders = {"/".join(rest[: at + 1]) for rest in rests if len(rest) > at}
        named = sorted(f for f in folders if SPLITS.keys() & set(words_of(f.split("/")[-1])))
        others = sorted(f"{f}/" for f in folders - set(named)) + ["images in no folder"] * any(
            len(rest) <= at for rest in rests
        )
        if not named or (at == 1 and any(f.split("/")[0] in named for f in folders)):
            continue
        if others:
            are, them = ("are no splits", "them") if len(named) > 1 else ("is no split", "it")
            yield f"{listed(named)} {are} with {others[0]} beside {them}; all are for training"
        elif len(named) > 1 or split_of(named[0].split("/")[-1]) != "train":
            yield f"{listed(named)}: there is no folder train beside, so all are for training"
        return
