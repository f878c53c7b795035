"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): small photographs, from the binary files or those made for Python."""

from __future__ import annotations

import pickletools
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from morphospace.data.sources.base import Contents, Part, SourceInfo, damaged
from morphospace.data.sources.published import Published
from morphospace.errors import DataError, SettingError, one_line

_SHAPE = (3, 32, 32)
_BYTES = 3 * 32 * 32
_MOST = 300 << 20  # bytes of one file; the largest published one has 154 MB
_BROKEN = (OSError, EOFError, ValueError, zlib.error, tarfile.TarError)
_HOME = "https://www.cs.toronto.edu/~kriz"
_NAMES = (b"data", b"labels", b"fine_labels", b"coarse_labels", b"filenames", b"batch_label")
_NUMBERS = ("BININT", "BININT1", "BININT2", "INT", "LONG1")


def read_binary(content: bytes, labels: int, place: object) -> tuple[np.ndarray, np.ndarray]:
    """Read a binary file: in each row the class numbers, then the red, green and blue plane.

    Args:
        content: The file.
        labels: How many class numbers stand before each image.
        place: Where it comes from, for messages.

    Returns:
        Images (N, 32, 32, 3) and class numbers (N, `labels`), uint8.

    Raises:
        DataError: If it holds no whole number of rows.
    """
    width = labels + _BYTES
    if not content or len(content) % width:
        raise damaged(place, f"has {len(content):,} bytes, must have a multiple of {width:,}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, width)
    return _pictures(rows[:, labels:]), rows[:, :labels]


def read_pickled(content: bytes, keys: tuple[str, ...], place: object) -> tuple[np.ndarray, np.ndarray]:
    """Read a file made for Python without unpickling it: its steps are listed, and none of them is taken.

    Such a file is a dictionary with the images under `data`, as one long string of bytes inside an array, and lists of
    class numbers under other names. What stands between one name and the next belongs to the first.

    Args:
        content: The file.
        keys: The names of the lists of class numbers.
        place: Where it comes from, for messages.

    Returns:
        Images (N, 32, 32, 3) uint8 and class numbers (N, number of `keys`).

    Raises:
        DataError: If it is no such file.
    """
    pixels, numbers, key = b"", {name: list[int]() for name in keys}, ""
    try:
        for step, value, _ in pickletools.genops(content):
            if isinstance(value, str | bytes) and step.name != "GLOBAL":
                text = value.encode("latin-1", "replace") if isinstance(value, str) else bytes(value)
                key = text.decode() if text in _NAMES else key
                pixels = text if key == "data" and len(text) >= _BYTES and not pixels else pixels
            elif key in numbers and step.name in _NUMBERS and 0 <= int(value or 0) < 256:
                numbers[key].append(int(value or 0))
    except Exception as error:  # what a damaged one raises depends on the step
        raise damaged(place, f"cannot be read ({one_line(error)})") from None
    count = len(pixels) // _BYTES
    if not count or len(pixels) % _BYTES or any(len(found) != count for found in numbers.values()):
        found = ", ".join(f"{len(found):,} {name}" for name, found in numbers.items())
        raise damaged(place, f"has {len(pixels):,} bytes of images and {found}, which do not fit")
    table = np.array([numbers[name] for name in keys], np.int64).T
    return _pictures(np.frombuffer(pixels, np.uint8).reshape(count, _BYTES)), table


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pictures(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, *_SHAPE).transpose(0, 2, 3, 1))


class _Cifar(Published):
    """What both sets share."""

    mirrors = (_HOME,)
    binary: ClassVar[tuple[str, Mapping[str, tuple[str, ...]]]]
    """The folder of the binary files, and their names by split."""
    pickled: ClassVar[tuple[str, Mapping[str, tuple[str, ...]]]]
    """The same of the files made for Python."""
    keys: ClassVar[tuple[str, ...]]
    """What the class numbers before an image are, in the order of the binary files."""

    def _archives(self) -> tuple[str, str]:
        """The names of the two archives, the binary one first."""
        binary = next(iter(self.sha256))
        return binary, binary.replace("binary", "python")

    def _files(self, folder: Path) -> dict[str, Path]:
        """Every file of one form, unpacked, or else an archive."""
        for inside, splits in (self.binary, self.pickled):
            for place in (folder / inside, folder):
                files = {name: place / name for names in splits.values() for name in names}
                if all(file.is_file() for file in files.values()):
                    return files
        archive = next((folder / name for name in self._archives() if (folder / name).is_file()), None)
        return {} if archive is None else {archive.name: archive}

    def _missing(self, found: Mapping[str, Path]) -> list[str]:
        return [] if found else [self._archives()[0]]

    def _contents(self, found: Mapping[str, Path]) -> Iterator[tuple[str, Path, bytes]]:
        """Yield the name, the place and the bytes of each file, out of its folder or the archive."""
        if not set(found) & set(self._archives()):
            for name, file in found.items():
                if file.stat().st_size > _MOST:
                    raise damaged(file, f"has more than {_MOST >> 20} MB")
                yield name, file, file.read_bytes()
            return
        archive = next(iter(found.values()))
        wanted = {name for _, splits in (self.binary, self.pickled) for names in splits.values() for name in names}
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if member.isfile() and name in wanted and member.size <= _MOST:
                    stream = tar.extractfile(member)
                    assert stream is not None
                    yield name, archive, stream.read()

    def _column(self) -> tuple[int, tuple[str, ...]]:
        """Which of the class numbers is the label, and the names of its classes."""
        raise NotImplementedError

    def read(self) -> Contents:
        found = self._located()
        column, classes = self._column()
        tables: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        try:
            for name, place, content in self._contents(found):
                pickled = any(name in names for names in self.pickled[1].values())
                where = f"{place} ({name})" if place.name != name else place
                if pickled:
                    images, numbers = read_pickled(content, self.keys, where)
                else:
                    images, numbers = read_binary(content, len(self.keys), where)
                if numbers.min() < 0 or numbers[:, column].max() >= len(classes):
                    most = numbers[:, column].max()
                    raise damaged(where, f"has label {most}, must be from 0 to {len(classes) - 1}")
                tables[name] = images, numbers[:, column].astype(np.int64)
        except _BROKEN as error:
            if isinstance(error, DataError):
                raise
            raise damaged(next(iter(found.values())), f"cannot be read ({one_line(error)})") from None
        parts = {}
        splits = self.pickled[1] if tables.keys() & {n for names in self.pickled[1].values() for n in names} else None
        for split, names in (splits or self.binary[1]).items():
            if lost := [name for name in names if name not in tables]:
                raise damaged(next(iter(found.values())), f"lacks {' and '.join(lost)}")
            images, labels = (np.concatenate(arrays) for arrays in zip(*(tables.pop(name) for name in names)))
            parts[split] = Part(images=images, labels=labels)
        return Contents(self.info.name, parts, (32, 32, 3), label_names=classes)


class Cifar10(_Cifar):
    """60,000 photographs of ten kinds of things."""

    info = SourceInfo(
        name="cifar-10",
        description="50,000 + 10,000 small photographs, 10 classes",
        licence="none stated by its authors",
        shape=(32, 32, 3),
        where=f"{_HOME}/cifar.html",
        size="170 MB",
    )
    folders = ("cifar-10", "cifar10", "CIFAR10")
    sha256: ClassVar[Mapping[str, str]] = {
        "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    }
    binary = (
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
    )
    pickled = (
        "cifar-10-batches-py",
        {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
    )
    keys = ("labels",)
    classes: ClassVar[tuple[str, ...]] = _words("airplane automobile bird cat deer dog frog horse ship truck")

    def _column(self) -> tuple[int, tuple[str, ...]]:
        return 0, self.classes


class Cifar100(_Cifar):
    """60,000 photographs of a hundred kinds of things; `cifar-100:coarse` takes the 20 groups of five as classes."""

    info = SourceInfo(
        name="cifar-100",
        description="50,000 + 10,000 small photographs, 100 classes, or 20 with cifar-100:coarse",
        licence="none stated by its authors",
        shape=(32, 32, 3),
        where=f"{_HOME}/cifar.html",
        size="169 MB",
    )
    variants = True
    folders = ("cifar-100", "cifar100", "CIFAR100")
    sha256: ClassVar[Mapping[str, str]] = {
        "cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
    }
    binary = ("cifar-100-binary", {"train": ("train.bin",), "test": ("test.bin",)})
    pickled = ("cifar-100-python", {"train": ("train",), "test": ("test",)})
    keys = ("coarse_labels", "fine_labels")
    coarse: ClassVar[tuple[str, ...]] = _words(
        "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices "
        "household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes "
        "large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals "
        "trees vehicles_1 vehicles_2"
    )
    classes: ClassVar[tuple[str, ...]] = _words(
        "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel "
        "can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur "
        "dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion "
        "lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree "
        "pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea "
        "seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table "
        "tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman "
        "worm"
    )

    def _column(self) -> tuple[int, tuple[str, ...]]:
        asked = self.settings.data.partition(":")[2]
        if asked not in ("", "fine", "coarse"):
            raise SettingError("data", self.settings.data, "must be cifar-100, or cifar-100:coarse")
        return (0, self.coarse) if asked == "coarse" else (1, self.classes)

    def identity(self) -> str:
        return f"{super().identity()}:{'coarse' if self._column()[0] == 0 else 'fine'}"
