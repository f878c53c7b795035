"""Datasets of other libraries become packs, by what they look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from morphospace.data.datasets import from_dataset
from morphospace.errors import DataError
from tests.conftest import draw_blobs

IMAGES = draw_blobs(20, (8, 8, 1))


class Names:
    """A column's description, with the names of its classes."""

    names = ("cat", "dog")


class Table:
    """What a Hugging Face data set looks like: rows are mappings, columns have features."""

    def __init__(self, images: np.ndarray, key: str = "label") -> None:
        self.images, self.key, self.features = images, key, {"image": object(), key: Names()}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"id": row, "image": Image.fromarray(self.images[row, ..., 0]), self.key: row % 2}


def test_a_table_of_hugging_face() -> None:
    pack = from_dataset(Table(IMAGES))
    assert np.array_equal(pack.split("train").images, IMAGES) and pack.label_names == ("cat", "dog")
    both = from_dataset({"train": Table(IMAGES), "validation": Table(IMAGES[:4])})
    assert {name: len(split) for name, split in both.splits.items()} == {"train": 20, "valid": 4}
    assert both.label_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"training": Table(IMAGES), "other": Table(IMAGES)}, "keys training, other"),
        ({"test": Table(IMAGES)}, "keys test"),
        ([{"pixels": IMAGES[0]}], "has pixels, and no image"),
        ((IMAGES, np.zeros(3)), "20 images and 3 labels"),
        ([(IMAGES[0], [1, 0]), (IMAGES[1], 1)], "labels differ in shape, the first is .*one-hot rows"),
        (Path("photos"), "is a path, 'photos'; give the text 'folder:PATH'"),
    ],
)
def test_what_is_no_dataset_says_what_it_has(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_dataset(data)


def test_arrays_with_and_without_labels() -> None:
    assert from_dataset(IMAGES).split("train").labels is None
    assert from_dataset(IMAGES[..., 0] / 255.0).shape == (8, 8, 1)
    labels = np.arange(20) % 3
    assert np.array_equal(from_dataset((IMAGES, labels)).split("train").labels, labels)
    pair = from_dataset([IMAGES[0], IMAGES[1]])  # two images, not images and labels
    assert len(pair.split("train")) == 2


def test_labels_may_be_names_one_hot_rows_or_columns_of_0_and_1() -> None:
    words = [(image, "dog" if row % 2 else "cat") for row, image in enumerate(IMAGES)]
    both = from_dataset({"train": words, "test": words[1::2]})  # one numbering for all splits
    assert both.label_names == ("cat", "dog") and set(both.split("test").labels) == {1}  # type: ignore[arg-type]
    one_hot = from_dataset((IMAGES, np.eye(4)[np.arange(20) % 4]))
    assert np.array_equal(one_hot.split("train").labels, np.arange(20) % 4) and one_hot.shape == (8, 8, 1)
    several = from_dataset([(image, torch.tensor([1, row % 2, 1])) for row, image in enumerate(IMAGES)])
    assert several.split("train").labels is None and several.attribute_names == ("label 0", "label 1", "label 2")
    assert several.split("train").attributes.sum() == 50  # type: ignore[union-attr]


class Flipped:
    """Mirrors images at random, as a dataset with augmentation does."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, row: int) -> np.ndarray:
        return IMAGES[row, :, :: self.random.choice((1, -1))]


def test_images_that_change_at_each_look_are_told() -> None:
    told: list[str] = []
    for seed in range(5):
        from_dataset(Flipped(seed), say=told.append)
    assert len(told) == 5 and "another image at each look" in told[0]
    from_dataset(Table(IMAGES), say=told.append)
    assert len(told) == 5
