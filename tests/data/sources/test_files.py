"""npz, npy, dsprites, stacked-mnist, zip and hub."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from morphospace.data.prepare import data_list, fetch, prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources import SOURCES
from morphospace.errors import DataError, MorphospaceError

from ..conftest import encoded, one_line, picture
from .test_sources import STEMS, mnist_like

Tree = Callable[..., Path]


def of(data: str, **more: object) -> DataSettings:
    return DataSettings(data=data, **more)  # type: ignore[arg-type]


def test_npz_with_everything(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (2500, 9, 8, 3), np.uint8), rng.integers(0, 4, 2500)
    table, factors = rng.integers(0, 2, (2500, 3)), rng.random((2500, 2))
    masks = rng.integers(0, 2, (2500, 9, 8, 1), np.uint8)
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, images=images, labels=labels, attributes=table, factors=factors, masks=masks, test_images=images[:7]
    )
    held = io.BytesIO()
    np.save(held, np.array([{"a": 1}], object), allow_pickle=True)
    with zipfile.ZipFile(path, "a") as archive:  # what cannot be loaded is not looked at
        archive.writestr("metadata.npy", held.getvalue())
    pack = prepare(of(f"npz:{path}"))
    split = pack.split("train")
    assert (split.images == images).all() and (split.labels == labels).all() and (split.masks == masks).all()
    assert (split.attributes == table).all() and np.allclose(split.factors, factors)  # type: ignore[arg-type]
    assert len(pack.split("test")) == 7 and pack.attribute_names == ("attribute 0", "attribute 1", "attribute 2")
    small = prepare(of(f"npz:{path}", size="8")).split("train")
    assert small.images.shape == (2500, 8, 8, 3) and small.masks is not None and small.masks.shape == (2500, 8, 8, 1)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.arange(5 * 9 * 8).reshape(5, 9, 8) % 256, (9, 8, 1)),
        (np.arange(5 * 3 * 9 * 8).reshape(5, 3, 9, 8) % 256, (9, 8, 3)),
        (np.arange(5 * 9 * 8 * 1).reshape(5, 9, 8, 1) % 256, (9, 8, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "bool"])
def test_npy_forms(tmp_path: Path, array: np.ndarray, shape: tuple[int, int, int], kind: str) -> None:
    held = array.astype(np.uint8)
    values = {"uint8": held, "bool": held > 127}.get(kind, held / 255)
    np.save(tmp_path / "x.npy", values.astype(kind))
    pack = prepare(of(f"npy:{tmp_path / 'x.npy'}"))
    wanted = (held > 127) * 255 if kind == "bool" else held
    wanted = wanted.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] == 3 else wanted.reshape(5, *shape)
    assert pack.shape == shape and (pack.split("train").images == wanted).all()


def dsprites(path: Path, columns: int, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (count, 64, 64), np.uint8)
    classes = rng.integers(0, 3, (count, columns))
    metadata = np.array({"title": "dSprites"}, object)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, imgs=images, latents_classes=classes, latents_values=classes / 2.0, metadata=metadata)
    return classes


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", 6),
        ("dsprites_downsampled.npz", 5),
        ("dsprites_subset.npz", 5),
    ],
)
def test_dsprites(tmp_path: Path, name: str, columns: int) -> None:
    classes = dsprites(tmp_path / "dsprites" / name, columns)
    pack = prepare(of("dsprites", root=str(tmp_path)))
    split = pack.split("train")
    assert pack.factor_names == ("shape", "scale", "orientation", "posX", "posY") and split.factors is not None
    assert (split.labels == classes[:, -5]).all() and np.allclose(split.factors, classes[:, -5:] / 2)
    assert set(np.unique(split.images)) == {0, 255} and pack.shape == (64, 64, 1)


def test_dsprites_by_hand(tmp_path: Path) -> None:
    for call in (
        lambda: prepare(of("dsprites")),
        lambda: fetch("dsprites", tmp_path),
        lambda: prepare(of("dsprites:x")),
    ):
        with pytest.raises(MorphospaceError) as caught:
            call()
        one_line(caught.value)


def test_stacked_mnist(tmp_path: Path) -> None:
    said = mnist_like(tmp_path / "mnist")
    pack = prepare(of("stacked-mnist", root=str(tmp_path)))
    split = pack.split("train")
    assert pack.shape == (28, 28, 3) and len(split) == 7 and len(pack.label_names) == 1000 and split.labels is not None
    for image, label in zip(split.images, split.labels.tolist(), strict=True):
        for channel, digit in enumerate(f"{label:03}"):
            assert (image[..., channel] == said[STEMS[0]][int(digit)]).all()  # digit i is image i there
    assert (
        prepare(of("stacked-mnist", root=str(tmp_path), size="32")).split("train").labels.tolist()
        == split.labels.tolist()
    )  # type: ignore[union-attr]


def zipped(base: Path, out: Path, top: str = "") -> Path:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(base.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(base).as_posix())
    return out


@pytest.mark.parametrize("top", ["", "birds/"])
def test_a_zip_is_the_folder_it_would_become(tree: Tree, tmp_path: Path, top: str) -> None:
    base = tree(*(f"train/{'ab'[i % 2]}/{i:03}" for i in range(300)), "test/a/1")
    (base / "train/a/002.png").write_bytes(b"")
    path = zipped(base, tmp_path / "z.zip", top)
    before = sorted(p.as_posix() for p in tmp_path.rglob("*") if "cache" not in p.parts)
    one, other = prepare(of(f"folder:{base}", classes=True)), prepare(of(f"zip:{path}", classes=True), workers=2)
    for name, split in one.splits.items():
        assert (other.split(name).images == split.images).all() and (other.split(name).labels == split.labels).all()
    assert other.manifest["skipped"]["first"] == [{"file": f"{top}train/a/002.png", "reason": "empty file"}]
    assert sorted(p.as_posix() for p in tmp_path.rglob("*") if "cache" not in p.parts) == before


def parquet(path: Path, count: int, *, first: int = 0) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    write_table = pytest.importorskip("pyarrow.parquet").write_table

    rows = [{"bytes": encoded(picture(first + i)), "path": None} for i in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pyarrow.table({"image": rows, "label": list(range(count))}), path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("offline")
def test_hub_copies_need_no_network(tree: Tree, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    root = tmp_path / "root"
    parquet(root / "me" / "birds" / "data" / "train-00000-of-00002.parquet", 5)
    parquet(root / "me" / "birds" / "data" / "train-00001-of-00002.parquet", 4, first=5)
    parquet(root / "me" / "birds" / "data" / "validation-00000-of-00001.parquet", 3)
    for data, extra in ((f"hub:{root / 'me' / 'birds'}", {}), ("hub:me/birds", {"root": str(root)})):
        pack = prepare(of(data, **extra))
        assert {k: len(v) for k, v in pack.splits.items()} == {"train": 9, "valid": 3} and pack.name == "birds"
        assert (pack.split("train").images == np.stack([picture(i) for i in range(9)])).all()
        assert pack.split("train").labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]  # type: ignore[union-attr]
    folder = tree("train/a/1", "train/b/2", name="photos")
    assert prepare(of(f"hub:{folder}", classes=True)).label_names == ("a", "b")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("data", ["hub:", "hub:../etc", "hub:a/b/c", "hub:a b"])
def test_hub_names_are_checked(data: str) -> None:
    with pytest.raises(MorphospaceError) as caught:
        prepare(of(data))
    one_line(caught.value)


def test_what_is_not_here_is_asked_of_the_hub_by_name_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the Hub stubbed: one call with the name, no code of the set's, and its tables read as a copy's are."""
    datasets = pytest.importorskip("datasets")
    files = {name: str(tmp_path / "far" / f"{name}.parquet") for name in ("train", "validation", "extra")}
    for i, file in enumerate(files.values()):
        parquet(Path(file), 6 - 2 * i, first=i)
    real, asked = datasets.load_dataset, list[tuple[object, ...]]()

    def answer(*names: object, **more: object) -> object:
        asked.append((*names, more))
        return real("parquet", data_files=files, cache_dir=str(tmp_path / "theirs"))

    monkeypatch.setattr(datasets, "load_dataset", answer)
    pack = prepare(of("hub:someone/birds"))
    assert asked == [("someone/birds", {})] and pack.name == "birds"
    assert {name: len(split) for name, split in pack.splits.items()} == {"train": 6, "valid": 4}
    assert (pack.split("train").images == np.stack([picture(i) for i in range(6)])).all()
    assert pack.split("valid").labels.tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]


def test_fetching_of_the_hub_leaves_it_where_packing_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    far = tmp_path / "far" / "train.parquet"
    parquet(far, 4)
    real = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name: real("parquet", data_files={"train": str(far)}, cache_dir=str(tmp_path))
    )
    folder = fetch("hub:someone/birds")
    assert folder is not None and any(folder.glob("*.arrow")) and folder.is_relative_to(tmp_path)
    (tmp_path / "near").mkdir()
    assert fetch(f"hub:{tmp_path / 'near'}") == tmp_path / "near"


def test_the_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"hub:someone/birds: cannot be loaded .*give the folder of a copy") as caught:
        prepare(of("hub:someone/birds"))
    one_line(caught.value)


def test_a_path_in_a_strangers_table_is_not_opened(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("datasets")
    write_table = pytest.importorskip("pyarrow.parquet").write_table
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(1)))
    rows = [{"bytes": encoded(picture(0)), "path": None}, {"bytes": None, "path": str(secret)}]
    (tmp_path / "set").mkdir()
    write_table(pyarrow.table({"image": rows}), tmp_path / "set" / "train-0.parquet")
    pack = prepare(of(f"hub:{tmp_path / 'set'}"))
    assert len(pack.split("train")) == 1 and pack.manifest["skipped"]["count"] == 1


def test_every_source_is_listed_with_its_terms() -> None:
    for info in data_list():
        assert info.description and info.licence and info.where
    assert {info.name for info in data_list()} == set(SOURCES)


@pytest.mark.real
@pytest.mark.skipif("MORPHOSPACE_DATA" not in os.environ, reason="MORPHOSPACE_DATA is not set")
def test_real_dsprites() -> None:
    """The subset's images and factors must agree with the downsampled file's where both hold the same sprite."""
    sets = [prepare(of(f"dsprites:{name}")).split("train") for name in ("downsampled", "subset")]
    assert [len(s) for s in sets] == [46_080, 20_000]
    tables = [{tuple(np.round(f, 5)): i for i, f in enumerate(s.factors.tolist())} for s in sets]  # type: ignore[union-attr]
    both = tables[0].keys() & tables[1].keys()
    assert len(both) == 1246
    rows = [[table[key] for key in both] for table in tables]
    assert (sets[0].images[rows[0]] == sets[1].images[rows[1]]).all()


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="never loaded"):
        prepare(of(f"npy:{tmp_path / 'x.npy'}"))


FORMS = {
    "names": (np.array(["dog", "cat", "dog", "cat", "fox", "cat"]), [1, 0, 1, 0, 2, 0], ("cat", "dog", "fox")),
    "bytes": (np.array([b"dog", b"cat"] * 3), [1, 0, 1, 0, 1, 0], ("cat", "dog")),
    "a column": (np.arange(6)[:, None] % 2, [0, 1, 0, 1, 0, 1], ()),
    "one-hot": (np.eye(3, dtype=np.float32)[[0, 2, 1, 0, 2, 1]], [0, 2, 1, 0, 2, 1], ()),
    "one-hot of bool": (np.eye(3, dtype=bool)[[0, 2, 1, 0, 2, 1]], [0, 2, 1, 0, 2, 1], ()),
    "whole floats": (np.array([0.0, 2, 1, 0, 2, 1]), [0, 2, 1, 0, 2, 1], ()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "keys", [("images", "labels"), ("X_train", "y_train"), ("train_x", "train_labels"), ("xTraining", "yTraining")]
)
def test_labels_of_arrays_in_any_form(tmp_path: Path, form: str, keys: tuple[str, str]) -> None:
    table, numbers, names = FORMS[form]
    np.savez(tmp_path / "x.npz", **{keys[0]: np.zeros((6, 8, 8), np.uint8), keys[1]: table})
    pack = prepare(of(f"npz:{tmp_path / 'x.npz'}"))
    assert pack.split("train").labels.tolist() == numbers and pack.label_names == names  # type: ignore[union-attr]


def test_columns_of_0_and_1_become_attributes(tmp_path: Path) -> None:
    """As the multi-label sets of MedMNIST: all splits decide together whether rows are one-hot."""
    rng, counts = np.random.default_rng(0), {"train": 8, "val": 3, "test": 4}
    tables = {split: rng.integers(0, 2, (n, 5)).astype(np.uint8) for split, n in counts.items()}
    tables["val"] = np.eye(5, dtype=np.uint8)[:3]
    images = {f"{split}_images": rng.integers(0, 256, (n, 8, 8), np.uint8) for split, n in counts.items()}
    np.savez(
        tmp_path / "x.npz", **images, **{f"{split}_labels": table for split, table in tables.items()}, extra=np.ones(3)
    )
    pack = prepare(of(f"npz:{tmp_path / 'x.npz'}"), note=(said := list[str]()).append)
    assert list(pack.splits) == ["train", "valid", "test"] and pack.attribute_names[:2] == ("label 0", "label 1")
    for split, table in zip(("train", "valid", "test"), tables.values(), strict=True):
        assert (pack.split(split).attributes == table).all() and pack.split(split).labels is None
    assert said == ["not read: the arrays extra"]


def test_class_names_beside_numbers(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 1, 0])
    np.savez(tmp_path / "x.npz", images=images, labels=labels, class_names=np.array(["cat", "dog"]))
    assert prepare(of(f"npz:{tmp_path / 'x.npz'}")).label_names == ("cat", "dog")


@pytest.mark.parametrize("table", [np.full((4, 3), 2), np.zeros((4, 2, 2)), np.array([-1, 0, 1, 0]), np.zeros(3)])
def test_labels_of_no_form_say_what_is_wanted(tmp_path: Path, table: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8), np.uint8), labels=table)
    with pytest.raises(DataError, match=r"class numbers or names|number classes from 0") as caught:
        prepare(of(f"npz:{tmp_path / 'x.npz'}"))
    one_line(caught.value)


def tables(folder: Path, columns: dict[str, object], **splits: int) -> str:
    """Parquet files as the Hub writes them, with the columns that functions of (datasets, count) give."""
    datasets = pytest.importorskip("datasets")
    folder.mkdir()
    for split, count in splits.items():
        features = datasets.Features(
            {"image": datasets.Image(), **{k: make(datasets) for k, (make, _) in columns.items()}}
        )  # type: ignore[misc, index]
        rows = {"image": [{"bytes": encoded(picture(i)), "path": None} for i in range(count)]}
        rows |= {name: [value(i) for i in range(count)] for name, (_, value) in columns.items()}  # type: ignore[attr-defined]
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(folder / f"{split}.parquet"))
    return f"hub:{folder}"


COLUMNS: dict[str, tuple[object, object, object]] = {
    "text": (lambda d: d.Value("string"), lambda i: "cab"[i % 3], [2, 0, 1, 2]),
    "class label": (lambda d: d.ClassLabel(names=["x", "y"]), lambda i: i % 2, [0, 1, 0, 1]),
    "several classes": (
        lambda d: d.List(d.ClassLabel(names=["x", "y"])),
        lambda i: [0, 1][: i % 3],
        [[0, 0], [1, 0], [1, 1], [0, 0]],
    ),
    "tags": (lambda d: d.List(d.Value("string")), lambda i: ["x", "y"][: i % 3], [[0, 0], [1, 0], [1, 1], [0, 0]]),
}


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("form", COLUMNS)
def test_labels_of_the_hub_in_any_form(tmp_path: Path, form: str) -> None:
    make, value, wanted = COLUMNS[form]
    data = tables(tmp_path / "birds", {"label": (make, value), "caption": (lambda d: d.Value("string"), str)}, train=4)
    pack = prepare(of(data), note=(said := list[str]()).append)
    found = pack.split("train").labels if pack.split("train").labels is not None else pack.split("train").attributes
    assert found.tolist() == wanted and said == ["not read: the columns caption"]  # type: ignore[union-attr]


@pytest.mark.usefixtures("offline")
def test_flags_of_the_hub_are_attributes(tmp_path: Path) -> None:
    flag = (lambda d: d.Value("bool"), lambda i: i % 2 == 0)
    pack = prepare(of(tables(tmp_path / "faces", {"smiling": flag, "young": flag}, train=3, test=2)))
    assert pack.attribute_names == ("smiling", "young") and pack.split("test").attributes.tolist() == [[1, 1], [0, 0]]  # type: ignore[union-attr]


@pytest.mark.usefixtures("offline")
def test_tables_and_labels_that_the_hub_leaves_out_are_told(tmp_path: Path) -> None:
    label = (lambda d: d.ClassLabel(names=["x", "y"]), lambda i: i % 2 if i < 3 else -1)
    data = tables(tmp_path / "birds", {"label": label}, Training=3, eval=4, unsupervised=2)
    pack = prepare(of(data), note=(said := list[str]()).append)
    assert {name: len(split) for name, split in pack.splits.items()} == {"train": 3, "test": 4}
    assert said[0] == "not read: unsupervised.parquet, whose names say no split"
    assert "not read: the labels in the column label (1 labels are below 0" in said[1]
    plain = tables(tmp_path / "plain", {}, birds=3)
    assert len(prepare(of(plain)).split("train")) == 3


def table_of_everything(path: Path, secret: Path, label: str) -> None:
    """A table with columns of sounds, films, pictures and files beside the images, as the Hub writes them."""
    pyarrow = pytest.importorskip("pyarrow")
    datasets = pytest.importorskip("datasets")
    write_table = pytest.importorskip("pyarrow.parquet").write_table
    kinds = {"audio": "Audio", "video": "Video", "mask": "Image", "pdf": "Pdf"}
    kinds = {name: getattr(datasets, kind)() for name, kind in kinds.items() if hasattr(datasets, kind)}
    named = {"label": datasets.ClassLabel(names=["a", "b"])} if label == "label" else {label: datasets.Audio()}
    features = datasets.Features({"image": datasets.Image(), **kinds, **named})
    away = [{"bytes": None, "path": place} for place in (str(secret), "http://127.0.0.1:9/x.wav")] * 2
    rows = [{"bytes": encoded(picture(i)), "path": None} for i in range(4)]
    columns = {"image": rows, **dict.fromkeys(kinds, away), label: [0, 1, 0, 1] if label == "label" else away}
    path.parent.mkdir(parents=True)
    write_table(pyarrow.table(columns, schema=features.arrow_schema), path)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("label", ["label", "cls"])
def test_sounds_and_films_of_a_table_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded(picture(1)))
    table_of_everything(tmp_path / "set" / "train-0.parquet", secret, label)
    opened: list[str] = []
    real = open

    def watched(file: object, *more: object, **named: object) -> object:
        opened.append(str(file))
        return real(file, *more, **named)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", watched)
    pack = prepare(of(f"hub:{tmp_path / 'set'}"))
    assert str(secret) not in opened
    assert (pack.split("train").images == np.stack([picture(i) for i in range(4)])).all()
    assert pack.label_names == (("a", "b") if label == "label" else ())
    (note,) = [note for note in pack.manifest["notes"] if "audio" in note]
    assert note.startswith("not read: the columns") and "video" in note and "mask" in note
