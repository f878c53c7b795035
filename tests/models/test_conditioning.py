from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import torch

from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import SettingError
from morphospace.models.conditioning import Conditioning, class_names

LABEL = Conditioning.of("label", ("Bag", "Ankle boot", "3", "Sneaker"), ())
ATTRIBUTES = Conditioning.of("attributes: Male, Smiling", (), ("Smiling", "Bald", "Male"))
assert LABEL is not None and ATTRIBUTES is not None


def test_what_an_image_is_told() -> None:
    assert LABEL.vectors(torch.tensor([3, 0]), None).tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    rows = torch.tensor([[1, 0, 0], [0, 1, 1]], dtype=torch.uint8)  # Smiling, Bald, Male
    assert ATTRIBUTES.vectors(None, rows).tolist() == [[0, 1], [1, 0]]  # Male, Smiling
    assert Conditioning.of("", ("a",), ("b",)) is None


def test_a_name_wins_over_a_number() -> None:
    assert LABEL.words(LABEL.label("3")) == "3" and LABEL.label("3").argmax() == 2
    assert LABEL.words(LABEL.label(1)) == LABEL.words(LABEL.label("Ankle boot")) == "Ankle boot"


@pytest.mark.parametrize("known", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_name_is_found_however_its_accents_are_written(known: str, asked: str) -> None:
    names, name = tuple(unicodedata.normalize(known, n) for n in ("Ångström", "Müller")), "Müller"  # type: ignore[arg-type]
    wanted = unicodedata.normalize(asked, name)  # type: ignore[arg-type]
    assert Conditioning("label", names).label(wanted).argmax() == 1
    assert Conditioning("attributes", names, (0, 1)).attributes({wanted: 1}).tolist() == [0, 1]


def test_attributes_in_words() -> None:
    assert ATTRIBUTES.words(ATTRIBUTES.attributes({"Smiling": 0.5})) == "Male=0, Smiling=0.5"


def test_spread_is_every_class_or_every_mix() -> None:
    assert [LABEL.words(row) for row in LABEL.spread()] == list(LABEL.names)
    assert [LABEL.words(row) for row in LABEL.spread(6)] == [*LABEL.names, "Bag", "Ankle boot"]
    assert ATTRIBUTES.spread().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    many = Conditioning("attributes", tuple("abcdef")).spread()
    assert many.shape == (16, 6) and not many[:, 4:].any() and len(many.unique(dim=0)) == 16


def test_classes_are_counted_over_all_splits() -> None:
    images = np.zeros((3, 8, 8, 1), np.uint8)
    train, test = (Split(images, labels=np.array(labels)) for labels in ([0, 1, 1], [0, 4, 2]))
    assert class_names(in_memory_pack("p", train, test=test)) == ("0", "1", "2", "3", "4")
    assert class_names(in_memory_pack("p", train, label_names=("x", "y"))) == ("x", "y")
    assert class_names(in_memory_pack("p", images)) == ()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Sneakers", "no such class \\(did you mean 'Sneaker'"),
        ("zzz", "known: Bag, Ankle boot, 3, Sneaker.*number from 0 to 3"),
        (4, "number from 0 to 3"),
        (-1, "number from 0 to 3"),
        ("²", "no such class"),
        ("", "no such class"),
    ],
)
def test_no_such_class(wanted: int | str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        LABEL.label(wanted)


def test_a_thousand_classes_are_not_listed() -> None:
    many = Conditioning("label", tuple(f"class {i}" for i in range(1000)))
    with pytest.raises(SettingError) as refused:
        many.label("zebra")
    assert len(str(refused.value)) < 120
    with pytest.raises(SettingError, match="did you mean 'class 17'"):
        many.label("clas 17")
