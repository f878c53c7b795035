from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from morphospace.data.prepare import data_list, fetch, prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError

from ..conftest import encoded, one_line, picture

Tree = Callable[..., Path]
STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    images = {STEMS[i]: rng.integers(0, 256, (n, 28, 28)) for i, n in ((0, 7), (2, 3))}
    return {**images, STEMS[1]: np.arange(7), STEMS[3]: np.array([9, 8, 7])}


def mnist_like(folder: Path, zipped: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    for stem, array in arrays().items():
        data = idx(array)
        (folder / (stem + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return arrays()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("data", "inside"),
    [
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("mnist", ""),
        ("fashion-mnist", "fashion_mnist"),
        ("fashion-mnist", "fashion-mnist"),
        ("kmnist", "kmnist"),
    ],
)
def test_idx_layouts(tmp_path: Path, data: str, inside: str, zipped: bool) -> None:
    said = mnist_like(tmp_path / "root" / inside, zipped)
    pack = prepare(DataSettings(data=data, root=str(tmp_path / "root")))
    assert (pack.split("train").images[..., 0] == said[STEMS[0]]).all()
    assert pack.split("test").labels.tolist() == [9, 8, 7]  # type: ignore[union-attr]
    assert pack.shape == (28, 28, 1) and len(pack.label_names) == 10
    assert {i.name: i.here for i in data_list(tmp_path / "root")}[data]


IMAGES = idx(np.zeros((7, 28, 28)))
CORRUPT = {
    "empty": (0, b""),
    "magic": (0, b"\0\0\x08\x01" + IMAGES[4:]),
    "size": (0, idx(np.zeros((7, 27, 28)))),
    "count": (0, idx(np.zeros((6, 28, 28)))),
    "huge": (0, struct.pack(">4I", 0x803, 2**32 - 1, 28, 28)),
    "none": (0, struct.pack(">4I", 0x803, 0, 28, 28)),
    "cut": (0, IMAGES[:-1]),
    "trailing": (0, IMAGES + b"\0"),
    "cut gzip": (0, gzip.compress(IMAGES)[:-10]),
    "damaged gzip": (0, gzip.compress(os.urandom(9000))[:4000] + b"\0" * 4000),
    "gzip sum": (0, gzip.compress(IMAGES)[:-8] + b"\1\2\3\4" + gzip.compress(IMAGES)[-4:]),
    "label": (1, idx(np.full(7, 10))),
    "labels for images": (1, IMAGES),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_idx_corruptions(tmp_path: Path, case: str) -> None:
    which, data = CORRUPT[case]
    mnist_like(tmp_path / "mnist")
    (tmp_path / "mnist" / (STEMS[which] + ".gz")).write_bytes(data)
    with pytest.raises(DataError, match="again") as caught:
        prepare(DataSettings(data="mnist", root=str(tmp_path)))
    one_line(caught.value)


def test_idx_with_a_file_missing(tmp_path: Path) -> None:
    mnist_like(tmp_path / "mnist")
    (tmp_path / "mnist" / (STEMS[3] + ".gz")).unlink()
    with pytest.raises(DataError, match="lacks t10k-labels"):
        prepare(DataSettings(data="mnist", root=str(tmp_path)))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_without_a_network_one_line_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import requests

    def offline(*_: object, **__: object) -> None:
        raise requests.exceptions.ConnectionError("no\nnetwork")

    monkeypatch.setattr(requests, "get", offline)
    for call in (lambda: prepare(DataSettings(data=name)), lambda: fetch(name, tmp_path / "r")):
        with pytest.raises(DataError, match=r"put train-images-idx3-ubyte\.gz, .* into ") as caught:
            call()
        one_line(caught.value)


def test_digits() -> None:
    pack = prepare(DataSettings(data="digits"))
    train, test = pack.split("train"), pack.split("test")
    assert (len(train), len(test), pack.shape) == (1437, 360, (8, 8, 1))
    assert train.images.max() == 255 and set(np.unique(train.images)) == set(np.rint(np.arange(17) * 255 / 16))
    assert train.labels is not None and len(set(train.labels.tolist())) == 10
    large = prepare(DataSettings(data="digits", size="28", channels=3))
    assert large.shape == (28, 28, 3) and large.hash == prepare(DataSettings(data="digits", size="28", channels=3)).hash


def celeba(base: Path, images: str, ending: str, *, lists: bool = True) -> None:
    """Nine listed images, of which 1 to 8 are here, and one in no list."""
    folder = base / images
    folder.mkdir(parents=True)
    for i in [*range(1, 9), 99]:
        (folder / f"{i:06}.jpg").write_bytes(encoded(picture(i, 109, 89), "JPEG"))
    if not lists:
        return
    rows = [(f"{i:06}.jpg", 1 if i % 2 else -1, -1 if i % 3 else 1, (i - 1) // 3) for i in range(1, 10)]
    if ending == "txt":
        attr = "9\nOdd Third\n" + "".join(f"{n}  {a:2} {b:2}\n" for n, a, b, _ in rows)
        part = "".join(f"{n} {p}\n" for n, _, _, p in rows)
    else:
        attr = "image_id,Odd,Third\n" + "".join(f"{n},{a},{b}\n" for n, a, b, _ in rows)
        part = "image_id,partition\n" + "".join(f"{n},{p}\n" for n, _, _, p in rows)
    (base / f"list_attr_celeba.{ending}").write_text(attr)
    (base / f"list_eval_partition.{ending}").write_text(part)


@pytest.mark.parametrize("ending", ["txt", "csv"])
@pytest.mark.parametrize("images", ["img_align_celeba", "img_align_celeba/img_align_celeba"])
@pytest.mark.parametrize("inside", ["celeba", ""])
def test_celeba_layouts(tmp_path: Path, inside: str, images: str, ending: str) -> None:
    celeba(tmp_path / "root" / inside, images, ending)
    (tmp_path / "root" / inside / images / "000002.jpg").write_bytes(b"")
    lines: list[str] = []
    pack = prepare(DataSettings(data="celeba", root=str(tmp_path / "root")), say=lines.append)
    assert pack.shape == (64, 64, 3) and pack.attribute_names == ("Odd", "Third")
    assert {k: len(v) for k, v in pack.splits.items()} == {"train": 2, "valid": 3, "test": 2}
    assert pack.split("train").attributes.tolist() == [[1, 0], [1, 1]]  # type: ignore[union-attr]
    assert pack.split("valid").attributes.tolist() == [[0, 0], [1, 0], [0, 1]]  # type: ignore[union-attr]
    assert "celeba: 8 of 9 listed images are here" in lines
    assert any("1 images are in no list" in line for line in lines)


def test_celeba_without_lists(tmp_path: Path) -> None:
    celeba(tmp_path, "img_align_celeba", "txt", lists=False)
    lines: list[str] = []
    pack = prepare(DataSettings(data="celeba", root=str(tmp_path)), say=lines.append)
    assert list(pack.splits) == ["train"] and pack.split("train").attributes is None
    assert any("no attributes" in line for line in lines) and any("all images are in train" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("list_attr_celeba.txt", "000003.jpg   1  1", "000003.jpg   1"),
        ("list_attr_celeba.txt", "000003.jpg   1  1", "000003.jpg   1  7"),
        ("list_attr_celeba.txt", "000003.jpg   1  1", "000003.jpg   1  yes"),
        ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg 5"),
        ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg"),
    ],
)
def test_celeba_lists_are_checked(tmp_path: Path, name: str, old: str, new: str) -> None:
    celeba(tmp_path, "img_align_celeba", "txt")
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=rf"{name}: line \d+") as caught:
        prepare(DataSettings(data="celeba", root=str(tmp_path)))
    one_line(caught.value)


def of(base: Path, **more: object) -> DataSettings:
    return DataSettings(data=f"folder:{base}", **more)  # type: ignore[arg-type]


def test_folder_order_splits_and_classes(tree: Tree) -> None:
    base = tree("train/b/1", "train/a/2", "val/a/1", "test/b/1", "train/a/1")
    pack = prepare(of(base, classes=True))
    assert list(pack.splits) == ["train", "valid", "test"] and pack.label_names == ("a", "b")
    assert pack.split("train").labels.tolist() == [0, 0, 1]  # type: ignore[union-attr]
    assert (pack.split("train").images == np.stack([picture(4), picture(1), picture(0)])).all()
    assert pack.split("test").labels.tolist() == [1]  # type: ignore[union-attr]


def test_other_top_folders_are_classes_not_splits(tree: Tree) -> None:
    pack = prepare(of(tree("train/1", "cats/2", "test/3"), classes=True))
    assert list(pack.splits) == ["train"] and pack.label_names == ("cats", "test", "train")


def test_what_stands_beside_splits_is_told_or_refused(tree: Tree) -> None:
    base = tree("train/1", "validation/2", "test/3")
    assert list(prepare(of(base)).splits) == ["train", "valid", "test"]
    said: list[str] = []
    assert len(prepare(of(tree("train/1", "test/3", "more/4", name="b")), say=said.append).split("train")) == 3
    assert any("test, train are no splits with more/ beside them; all are for training" in line for line in said)
    with pytest.raises(DataError, match="move these into one, or away") as caught:
        prepare(of(tree("train/1", "test/3", "preview", name="c")))
    one_line(caught.value)
    with pytest.raises(DataError, match="more than one folder for the split 'valid': val, validation"):
        prepare(of(tree("train/1", "val/2", "validation/3", name="d")))


def test_links_in_a_circle_end(tree: Tree) -> None:
    base = tree("a/1", "b/2")
    (base / "a" / "loop").symlink_to(base)
    (base / "b" / "gone.png").symlink_to(base / "nowhere.png")
    assert len(prepare(of(base)).split("train")) == 2


def test_hidden_and_foreign_files_are_passed_over(tree: Tree) -> None:
    base = tree("1", ".hidden/2", "._3", "__MACOSX/4")
    (base / "notes.txt").write_text("x")
    assert len(prepare(of(base)).split("train")) == 1


def test_sizes_that_differ_need_a_size(tree: Tree) -> None:
    base = tree("1")
    (base / "2.png").write_bytes(encoded(picture(2, 30, 30)))
    with pytest.raises(DataError, match="--size 64") as caught:
        prepare(of(base))
    one_line(caught.value)
    assert prepare(of(base, size="16")).shape == (16, 16, 3)


def test_grey_unless_any_is_coloured(tree: Tree) -> None:
    base = tree("1", "2", channels=1)
    assert prepare(of(base)).shape == (20, 16, 1)
    (base / "3.png").write_bytes(encoded(picture(3)))
    assert prepare(of(base)).shape == (20, 16, 3)


@pytest.mark.parametrize("names", [("1",), ("a/1", "2")])
def test_classes_need_folders(tree: Tree, names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="is in no class folder") as caught:
        prepare(of(tree(*names), classes=True))
    one_line(caught.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no image file"):
        prepare(of(tmp_path))


@pytest.mark.real
@pytest.mark.skipif("MORPHOSPACE_DATA" not in os.environ, reason="MORPHOSPACE_DATA is not set")
@pytest.mark.parametrize(
    ("data", "mean", "counts"),
    [
        ("mnist", 33.32, {"train": 60000, "test": 10000}),
        ("fashion-mnist", 72.94, {"train": 60000, "test": 10000}),
        ("celeba", None, {"train": 6000, "valid": 1000, "test": 1000}),
    ],
)
def test_real_files(data: str, mean: float | None, counts: dict[str, int]) -> None:
    if not {i.name: i.here for i in data_list()}[data]:
        pytest.skip(f"{data} is not below MORPHOSPACE_DATA")
    pack = prepare(DataSettings(data=data))
    assert {k: len(v) for k, v in pack.splits.items()} == counts
    if mean is not None:
        assert abs(pack.split("train").images.mean() - mean) < 0.01
    else:
        attributes = pack.split("train").attributes
        assert attributes is not None and attributes.shape == (6000, 40)
        assert 0.4 < attributes[:, pack.attribute_names.index("Male")].mean() < 0.5
