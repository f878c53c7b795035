"""Turn any map-style dataset of (image, label) into a pack in memory; by duck typing, without its library."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from morphospace.data.decode import to_uint8_image
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.errors import DataError


def from_dataset(dataset: Any, name: str = "dataset") -> Pack:
    """Read a dataset with `len` and `[i]`, such as a torch or torchvision one, into a pack.

    Args:
        dataset: Gives an image or (image, label, ...). An image is a PIL image, a (C, H, W) tensor or an (H,
            W) or (H, W, C) array; uint8, or floats within [0, 1]. A label is a whole number or None.
        name: What to call the pack.

    Returns:
        A pack with the split `train`; its label names are `dataset.classes` if it has them.

    Raises:
        DataError: If there is no image, if sizes differ, or if a value is out of range.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")) or len(dataset) == 0:
        rule = "must be a dataset with len() and [i] and at least one image"
        raise DataError(name, rule=rule, way_out="wrap it in such a class")
    count, labels = len(dataset), []
    images: np.ndarray | None = None
    for row in range(count):
        sample = dataset[row]
        image, label = (
            (sample[0], sample[1] if len(sample) > 1 else None) if isinstance(sample, (tuple, list)) else (sample, None)
        )
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
    numbers = None if any(label is None for label in labels) else _labels(labels, name)
    classes = getattr(dataset, "classes", None)
    words = tuple(str(word) for word in classes) if numbers is not None and classes is not None else ()
    return in_memory_pack(name, Split(images, labels=numbers), label_names=words)


def _labels(labels: list[Any], name: str) -> np.ndarray:
    try:
        numbers = np.array([int(label) for label in labels], np.int64)
    except (TypeError, ValueError):
        rule = f"labels must be whole numbers or None, the first is {labels[0]!r}"
        raise DataError(name, rule=rule, way_out="map them") from None
    return numbers


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
        raise DataError(what, rule=rule, way_out="undo any normalisation")
    return np.rint(array * 255).astype(np.uint8)
