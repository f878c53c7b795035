"""Turn any map-style dataset of images and labels into a pack in memory; by duck typing, without its library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from PIL import Image

from morphospace.data.labels import WANTED, Labels, gap_note, read_labels, without_gaps
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.data.sources.base import IMAGE_COLUMNS, LABEL_COLUMNS
from morphospace.data.sources.layout import split_of
from morphospace.data.values import to_uint8_image
from morphospace.errors import DataError, shown

LOOKS = 8  # how many items are read twice, to see whether they stay the same


def from_dataset(dataset: Any, name: str = "dataset", say: Callable[[str], None] = lambda line: None) -> Pack:
    """Read a dataset with `len` and `[i]`, such as one of torch, torchvision or Hugging Face, into a pack.

    Args:
        dataset: Gives an image, (image, label, ...), or a mapping with an image and maybe a label (`image`, `label`).
            An image is a PIL image, a (C, H, W) tensor or an (H, W) or (H, W, C) array; uint8, or floats within [0, 1].
            A label is a class number or name, a one-hot row, a row of 0 and 1 (attributes), or
            None. Arrays are datasets too: images, or (images, labels). A mapping of such datasets by split,
            `{"train": ..., "test": ...}`, gives a pack with these splits.
        name: What to call the pack.
        say: Takes a line for the user, for instance if items change at every look.

    Returns:
        A pack with the split `train`; its label names are `dataset.classes` if it has them, or those of its features.

    Raises:
        DataError: If there is no image, if sizes differ, or if a value is out of range.
    """
    if isinstance(dataset, str | PathLike):
        raise DataError(name, rule=f"is a path, {shown(str(dataset))}", way_out="give the text 'folder:PATH'")
    if not isinstance(dataset, Mapping):
        return _made(name, {"train": _one_split(dataset, name, say)}, say)
    splits = {split_of(str(key)) or "": split for key, split in dataset.items()}
    if "train" not in splits or "" in splits or len(splits) < len(dataset):
        rule = f"has the keys {', '.join(map(str, dataset)) or 'none'}; they must be train, and maybe valid and test"
        raise DataError(name, rule=rule, way_out="give one dataset, or a mapping of datasets by split")
    return _made(name, {split: _one_split(each, name, say) for split, each in splits.items()}, say)


@dataclass(frozen=True)
class _Items:
    """What one dataset gave: its images (N, H, W, C), a label for each, if all have one, and the names of classes."""

    images: np.ndarray
    labels: list[Any] | None
    classes: tuple[str, ...]


def _made(name: str, parts: Mapping[str, _Items], say: Callable[[str], None]) -> Pack:
    """Return a pack whose classes are those that occur, named by their numbers if these leave some out."""
    tables = {split: _table(part.labels, name) for split, part in parts.items() if part.labels is not None}
    said, classes = Labels(), parts["train"].classes
    if len(tables) == len(parts):
        columns = classes if {table.shape[1:] for table in tables.values()} == {(len(classes),)} else ()
        said = read_labels(name, tables, columns)
    numbers, names = (said.labels, said.names or classes) if said.labels else ({}, ())
    if numbers and not names:
        numbers, names = without_gaps(numbers)
        if names:
            say(gap_note(names))
    splits = {
        split: Split(part.images, labels=numbers.get(split), attributes=said.attributes.get(split))
        for split, part in parts.items()
    }
    return in_memory_pack(name, label_names=names, attribute_names=said.attribute_names, **splits)  # type: ignore[arg-type]


def _one_split(dataset: Any, name: str, say: Callable[[str], None]) -> _Items:
    """Read one dataset."""
    dataset = _paired(dataset)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or len(dataset) == 0:
        rule = "must be a dataset with len() and [i] and at least one image"
        raise DataError(name, rule=rule, way_out="wrap it in such a class, or give list(dataset)")
    count, labels = len(dataset), []
    images: np.ndarray | None = None
    for row in range(count):
        image, label = _image_and_label(dataset[row], f"{name}[{row}]")
        pixels = _pixels(image, f"{name}[{row}]")
        if images is None:
            images = np.empty((count, *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{name}[{row}]",
                rule=f"is {pixels.shape}, the first image {images.shape[1:]}",
                way_out="make them one size",
            )
        images[row] = pixels
        labels.append(label)
    assert images is not None
    again = np.unique(np.linspace(0, count - 1, LOOKS).astype(int)).tolist()
    odd = [row for row in again if not _stays(dataset, row, images[row])]
    if odd:
        say(
            f"{name}[{odd[0]}] is another image at each look: random changes in the dataset are made once, when it is "
            "read, and every epoch sees the same; leave them out, and use flip, shift and brightness of this library"
        )
    return _Items(images, None if any(label is None for label in labels) else labels, _classes(dataset))


def _paired(dataset: Any) -> Any:
    """Return (images, labels), given as two arrays of one length, as a list of pairs."""
    both = isinstance(dataset, tuple | list) and len(dataset) == 2 and all(hasattr(one, "shape") for one in dataset)
    if both and len(dataset[0].shape) in (3, 4) and len(dataset[1].shape) in (1, 2):
        images, labels = dataset
        if len(images) != len(labels):
            rule = f"has {len(images):,} images and {len(labels):,} labels"
            raise DataError("data", rule=rule, way_out="give one label for each image")
        return list(zip(images, labels))
    return dataset


def _image_and_label(item: Any, what: str) -> tuple[Any, Any]:
    """Return the image of a dataset's item, and its label or None."""
    if isinstance(item, Mapping):
        image = next((key for key in IMAGE_COLUMNS if key in item), None)
        if image is None:
            rule = f"has {', '.join(map(str, item))}, and no image among them"
            raise DataError(what, rule=rule, way_out=f"call the column of images {IMAGE_COLUMNS[0]!r}")
        return item[image], next((item[key] for key in LABEL_COLUMNS if key in item), None)
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _stays(dataset: Any, row: int, before: np.ndarray) -> bool:
    """Return whether a dataset gives the same image a second time."""
    now = _pixels(_image_and_label(dataset[row], "")[0], "")
    return bool(np.array_equal(now, before))


def _classes(dataset: Any) -> tuple[str, ...]:
    """Return the names of a dataset's classes: its `classes`, or those that its column of labels has."""
    features = getattr(dataset, "features", None)
    columns = [features[key] for key in LABEL_COLUMNS if key in features] if isinstance(features, Mapping) else []
    words = getattr(dataset, "classes", None) or getattr(columns[0] if columns else None, "names", None)
    return tuple(str(word) for word in words or ())


def _table(labels: list[Any], name: str) -> np.ndarray:
    """Return the labels of one dataset as an array, for `read_labels`."""
    try:
        return np.array([np.asarray(label) for label in labels])
    except (TypeError, ValueError):
        rule = f"labels differ in shape, the first is {shown(labels[0])}"
        raise DataError(name, rule=rule, way_out=WANTED) from None


def _pixels(image: Any, what: str) -> np.ndarray:
    """(H, W, C) uint8 of one image in any of the accepted forms."""
    if isinstance(image, Image.Image):
        array = np.asarray(to_uint8_image(image))
    elif hasattr(image, "detach"):  # a tensor: channels first
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    else:
        array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise DataError(
            what,
            rule=f"has shape {array.shape}",
            way_out="must be a PIL image, a (C, H, W) tensor or an (H, W, C) array, of 1 or 3 channels",
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):  # also refuses NaN
        rule = f"{array.dtype} values must be uint8, or floats within [0, 1]"
        way_out = "undo any normalisation, or save the array and read it as npy:FILE with --range auto"
        raise DataError(what, rule=rule, way_out=way_out)
    return np.rint(array * 255).astype(np.uint8)
