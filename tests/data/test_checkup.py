from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphospace.data.batches import held_out
from morphospace.data.checkup import check_pack
from morphospace.data.pack import Split, in_memory_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError

from .conftest import encoded, one_line, picture


def test_what_a_pack_holds() -> None:
    rng = np.random.default_rng(0)
    train = Split(
        rng.integers(0, 256, (50, 8, 9, 3)).astype(np.uint8),
        labels=rng.integers(0, 3, 50),
        attributes=np.stack([rng.integers(0, 2, 50), np.ones(50)], 1).astype(np.uint8),
        factors=np.stack([np.arange(50) % 4, rng.random(50)], 1).astype(np.float32),
        masks=rng.integers(0, 2, (50, 8, 9, 1)).astype(np.uint8),
    )
    train.images[7] = train.images[3]
    train.images[9] = train.images[3]
    train.images[11] = 77
    test = Split(train.images[[20, 21, 22]].copy(), labels=np.array([0, 0, 1]))
    test.images[2] += 1
    found = check_pack(in_memory_pack("noise", train, label_names=("a", "b", "c", "d"), test=test))
    split = found.splits["train"]
    assert split.count == 50 and split.constant == 1
    assert np.allclose(split.mean, train.images.reshape(-1, 3).mean(axis=0), atol=1e-9)
    assert np.allclose(split.deviation, train.images.reshape(-1, 3).std(axis=0), atol=1e-9)
    assert list(split.classes) == ["a", "b", "c", "d"] and split.classes["d"] == 0
    assert split.classes["b"] == (train.labels == 1).sum() and split.attributes["attribute 1"] == 1
    assert split.factors["factor 0"] == (0, 3, 4) and split.masks["mask 0"] == pytest.approx(train.masks.mean())  # type: ignore[union-attr]
    assert found.duplicates == 4 and found.leaked == {"test in train": 2}
    assert found.duplicate_rows[:2] == ((("train", 3), ("train", 7)), (("train", 3), ("train", 9)))
    said = " | ".join(found.remarks)
    for word in ("another's double", "2 images of test in train", "one colour", "no image, the first d", "attribute 1"):
        assert word in said


def test_images_held_out_that_are_trained_on_too_are_told() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
    twice = in_memory_pack("noise", Split(np.concatenate([images, images])))
    (_, trained), held = held_out(twice, 0.25)
    assert held is not None
    both = len({row % 40 for row in trained.tolist()} & {row % 40 for row in held[1].tolist()})
    again = sum((row + 40) % 80 in set(trained.tolist()) for row in held[1].tolist())
    found = check_pack(twice, 0.25)
    assert both and found.leaked == {"the part of train to be held out in train": again}
    assert f"{again} images of the part of train to be held out in train again" in " | ".join(found.remarks)
    assert check_pack(twice, 0).leaked == {}
    own = in_memory_pack("noise", twice.splits["train"], valid=Split(255 - images[:5]))
    assert check_pack(own).leaked == {}  # nothing of train is held out


def test_lost_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for i in range(4):
        (tmp_path / "set" / f"{i}.png").write_bytes(encoded(picture(i)) if i else b"")
    found = check_pack(prepare(DataSettings(data=f"folder:{tmp_path / 'set'}")))
    assert found.skipped == 1 and found.skipped_first[0]["file"] == "0.png" and "0.png" in found.remarks[0]
    for i in range(1, 4):
        (tmp_path / "set" / f"{i}.png").write_bytes(encoded(picture(i + 10)))
    (tmp_path / "set" / "0.png").write_bytes(encoded(picture(0)))
    assert check_pack(prepare(DataSettings(data=f"folder:{tmp_path / 'set'}"))).remarks == ()


def test_masks_that_are_not_there_are_told() -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (9, 8, 8, 3)).astype(np.uint8)
    masks[[2, 5]] = 0
    masks[..., 1] = 0
    split = Split(rng.integers(0, 256, (9, 8, 8, 3)).astype(np.uint8), masks=masks)
    found = check_pack(in_memory_pack("noise", split, mask_names=("hair", "hat", "skin")))
    assert found.splits["train"].unmasked == 2
    assert found.splits["train"].masks == pytest.approx(dict(zip(("hair", "hat", "skin"), masks.mean((0, 1, 2)))))
    assert found.remarks == ("train: 2 images have no pixel in any mask", "train: masks that no image has: hat")


def test_a_file_that_changed_since_it_was_packed_is_named(tmp_path: Path) -> None:
    pack = prepare(DataSettings(data="toyfaces:10", size="16"), out=tmp_path / "pack")
    assert check_pack(pack).duplicates == 0
    for name in ("train.masks.npy", "test.images.npy"):
        file = tmp_path / "pack" / name
        before = file.read_bytes()
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(DataError, match=name) as caught:
            check_pack(pack)
        one_line(caught.value)
        file.write_bytes(before)


def test_classes_that_are_too_few_or_too_small_are_told() -> None:
    images = np.random.default_rng(0).integers(0, 256, (31, 4, 4), np.uint8)
    remarks = "; ".join(check_pack(in_memory_pack("one", Split(images, labels=np.zeros(31, np.int64)))).remarks)
    assert "train: all images are of one class, 0" in remarks
    labels = np.array([0] * 20 + [1] * 10 + [2])
    remarks = "; ".join(check_pack(in_memory_pack("x", Split(images, labels=labels), label_names=tuple("abc"))).remarks)
    assert "classes of a single image: 1, the first c" in remarks and "from 1 (c) to 20 (a)" in remarks
    even = in_memory_pack("even", Split(images[:30], labels=np.arange(30) % 3))
    assert check_pack(even).remarks == ()
