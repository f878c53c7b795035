"""Labels that stand in a file: in every form, in folders and zips, and what does not fit is said."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from morphospace.data.checkup import check_pack
from morphospace.data.datasets import from_dataset
from morphospace.data.pack import class_count
from morphospace.data.prepare import outlined, prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError, MorphospaceError, SettingError

from ..conftest import encoded, one_line, picture
from .test_not_read import as_backslashed_zip, as_folder, as_hub, as_zip, packed
from .test_wds import tar

NAMES = [f"00000/img{i:04}.png" for i in range(6)]
KINDS = ["cat", "dog", "cat", "fox", "dog", "cat"]
NUMBERS = [0, 1, 0, 2, 1, 0]
COCO = {
    "images": [{"id": i, "file_name": name} for i, name in enumerate(NAMES)],
    "categories": [{"id": 7 + i, "name": word} for i, word in enumerate(("cat", "dog", "fox"))],
    "annotations": [{"image_id": i, "category_id": 7 + number} for i, number in enumerate(NUMBERS)],
}
LAST = [name.rpartition("/")[2] for name in NAMES]
ONE_HOT = [[int(number == k) for k in range(3)] for number in NUMBERS]


def lines(mark: str, *rows: object) -> bytes:
    return "\n".join(mark.join(map(str, row)) for row in rows).encode()  # type: ignore[call-overload]


def pairs(names: list[str], values: list[object] | None = None) -> list[tuple[str, object]]:
    return list(zip(names, KINDS if values is None else values, strict=True))


FORMS: dict[str, bytes] = {
    "dataset.json": json.dumps({"labels": pairs(NAMES, [*NUMBERS])}).encode(),
    "onehot.json": json.dumps({"labels": pairs(NAMES, [*ONE_HOT])}).encode(),
    "map.json": json.dumps(dict(pairs(NAMES))).encode(),
    "list.json": json.dumps([{"file_name": name, "label": kind} for name, kind in pairs(LAST)]).encode(),
    "coco.json": json.dumps(COCO).encode(),
    "metadata.jsonl": b"\n".join(
        json.dumps({"file_name": name, "text": "x", "label": kind}).encode() for name, kind in pairs(NAMES)
    ),
    "metadata.csv": lines(",", ["file_name", "label"], *pairs(NAMES)),
    "ids.csv": b"\xef\xbb\xbf" + lines(",", ["id", "breed"], *pairs([name[:-4] for name in LAST])),
    "semicolons.csv": lines(";", ["path", "class"], *pairs([f".\\{name}".replace("/", "\\") for name in NAMES])),
    "far.tsv": lines("\t", ["image", "label"], *pairs([f"/home/me/{name}" for name in NAMES])),
    "headless.csv": lines(",", *pairs(LAST)),
    "isic.csv": lines(",", ["image", "cat", "dog", "fox"], *([n, *map(float, ones)] for n, ones in zip(LAST, ONE_HOT))),
}


def images() -> dict[str, bytes]:
    return {name: encoded(picture(i)) for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("write", [as_folder, as_zip, as_backslashed_zip, as_hub])
def test_labels_in_every_form(tmp_path: Path, form: str, write) -> None:  # type: ignore[no-untyped-def]
    pack, _ = packed(write(tmp_path, {**images(), form: FORMS[form]}), labels=(form,))
    split = pack.split("train")
    assert split.labels is not None and split.labels.tolist() == NUMBERS and (split.images[3] == picture(3)).all()
    if form not in ("dataset.json", "onehot.json"):
        assert pack.label_names == ("cat", "dog", "fox")


def test_columns_of_0_and_1_are_attributes(tmp_path: Path) -> None:
    rows = [["name", "smiling", "young"], *([n, 1, -1 if i % 2 else 1] for i, n in enumerate(NAMES))]
    pack, said = packed(as_folder(tmp_path, {**images(), "a.csv": lines(",", *rows)}), labels=("a.csv",))
    assert pack.attribute_names == ("smiling", "young") and said == []
    assert pack.split("train").attributes.tolist() == [[1, 1 - i % 2] for i in range(6)]  # type: ignore[union-attr]


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    rows = [["file", "label"], [NAMES[0], "a"], [NAMES[0], "b"], ["gone.png", "a"], [NAMES[1], ""], [NAMES[2], "b"]]
    pack, said = packed(as_folder(tmp_path, {**images(), "x.csv": lines(",", *rows)}), labels=("x.csv",))
    assert len(pack.split("train")) == 2 and pack.label_names == ("a", "b")
    assert said == [
        "x.csv: 1 rows name no image here, the first 'gone.png'",
        "x.csv: 1 rows name an image again, whose first row is taken",
        "x.csv: 1 rows have no label",
        "4 images have no label in x.csv and are left out, the first 00000/img0001.png",
    ]


def test_files_of_labels_are_named_until_they_are_read(tmp_path: Path) -> None:
    files = {"train/1.png": encoded(picture(1)), "test/1.png": encoded(picture(2))}
    tables = {f"{split}/metadata.csv": f"file_name,label\n1.png,{split}".encode() for split in ("train", "test")}
    data = as_folder(tmp_path, {**files, **tables})
    said = packed(data)[1]
    assert said == ["not read: test/metadata.csv and 1 more; if labels stand there, --labels metadata.csv reads them"]
    pack, said = packed(data, labels=("metadata.csv",))
    assert said == [] and pack.label_names == ("test", "train") and pack.split("test").labels.tolist() == [0]  # type: ignore[union-attr]


def test_a_table_named_by_split_decides_between_images_of_one_name(tmp_path: Path) -> None:
    files = {f"{split}/{i}.png": encoded(picture(i)) for split in ("train", "test") for i in range(3)}
    data = as_folder(tmp_path, {**files, "train.csv": b"id,y\n0,a\n1,b\n2,a", "all.csv": b"id,y\n0,a\n1,b\n2,a"})
    pack, said = packed(data, labels=("train.csv",))
    assert list(pack.splits) == ["train"] and any("3 images have no label in train.csv" in line for line in said)
    with pytest.raises(DataError, match=r"names '0', and there are test/0.png and train/0.png; write the folder"):
        prepare(DataSettings(data=data, labels=("all.csv",)))


def test_a_file_of_labels_elsewhere_is_found_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = as_zip(tmp_path, images())
    (tmp_path / "own.csv").write_bytes(FORMS["metadata.csv"])
    monkeypatch.chdir(tmp_path)
    settings = DataSettings(data=data, labels=("own.csv#label",))
    assert prepare(settings).label_names == ("cat", "dog", "fox")
    (tmp_path / "own.csv").write_bytes(FORMS["metadata.csv"].replace(b"fox", b"owl"))
    os.utime(tmp_path / "own.csv", (1, 1))
    assert prepare(settings).label_names == ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "has no rows"),
        (b"file,label\nno.png,1", "names no image here"),
        (b"file\n" + NAMES[0].encode(), "has no column of labels"),
        (b"file,height,width\n" + NAMES[0].encode() + b",3,4", "which column holds the labels: height, width; name it"),
        (b"\xff\xfe\0\0", "has no rows|names no image|is no text"),
        (b'"' * 3000, "has no rows"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        prepare(DataSettings(data=as_folder(tmp_path, {**images(), "x.csv": content}), labels=("x.csv",)))
    one_line(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"[",
        b"3",
        b"[3]",
        b"{}",
        b'{"labels": null}',
        b'{"labels": [[1]]}',
        b'{"annotations": [], "images": [1]}',
        b"[" * 99999,
        b'{"a": {}}',
    ],
)
def test_json_that_is_something_else_is_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError) as caught:
        prepare(DataSettings(data=as_folder(tmp_path, {**images(), "x.json": content}), labels=("x.json",)))
    one_line(caught.value)


@pytest.mark.parametrize(
    "more", [{"labels": ("no.csv",)}, {"labels": ("map.json",), "classes": True}, {"labels": ("map.json#x",)}]
)
def test_settings_that_do_not_go_together(tmp_path: Path, more: dict[str, object]) -> None:
    data = as_folder(tmp_path, {**images(), "map.json": FORMS["map.json"]})
    with pytest.raises(MorphospaceError, match=r"there is map.json|leave classes or labels out|it has label") as caught:
        prepare(DataSettings(data=data, **more))  # type: ignore[arg-type]
    one_line(caught.value)
    with pytest.raises(SettingError, match="digits does not take it"):
        prepare(DataSettings(data="digits", labels=("x.csv",)))


def test_a_caption_is_no_class(tmp_path: Path) -> None:
    files = {f"{i}.png": encoded(picture(i)) for i in range(20)}
    table = lines(",", ["file", "text"], *([f"{i}.png", f"a picture of {i}"] for i in range(20)))
    with pytest.raises(DataError, match="20 different things of 20 images, which are no classes; name the column"):
        prepare(DataSettings(data=as_folder(tmp_path, {**files, "x.csv": table}), labels=("x.csv",)))


@pytest.mark.parametrize("write", [as_folder, as_zip])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_names_are_found_however_another_system_wrote_them(tmp_path: Path, write, encoding: str) -> None:  # type: ignore[no-untyped-def]
    names = [unicodedata.normalize("NFD", f"Kätzchen/ä {i}.PNG") for i in range(4)]  # as macOS stores them
    rows = "\r\n".join(f"Kätzchen\\ä {i}.png;{'Müller' if i % 2 else 'Groß'}" for i in range(4))
    file = tmp_path / "labels.csv"
    file.write_bytes(f"Bild;Name\r\n{rows}\r\n".encode(encoding))
    pack, _ = packed(write(tmp_path, {name: encoded(picture(i)) for i, name in enumerate(names)}), labels=(str(file),))
    labels = pack.splits["train"].labels
    assert pack.label_names == ("Groß", "Müller") and labels is not None and labels.tolist() == [0, 1, 0, 1]


def test_class_folders_of_two_systems_are_one_class(tmp_path: Path) -> None:
    files = {
        f"{split}/{unicodedata.normalize(form, 'Müller')}/{i}.png": encoded(picture(i))  # type: ignore[arg-type]
        for split, form in (("train", "NFC"), ("test", "NFD"))
        for i in range(3)
    }
    pack, _ = packed(as_folder(tmp_path, files), classes=True)
    assert pack.label_names == ("Müller",) and {name: len(split) for name, split in pack.splits.items()} == {
        "train": 3,
        "test": 3,
    }


def array_file(tmp_path: Path, kind: str, **more: np.ndarray) -> str:
    images = np.stack([picture(i) for i in range(6)])
    file = tmp_path / f"set.{kind}"
    if kind == "npy":
        np.save(file, images)
    else:
        np.savez(file, images=images, **more)
    return f"{kind}:{file}"


ORDERED: dict[str, bytes] = {
    "one.csv": lines(",", ["breed"], *([kind] for kind in KINDS)),
    "headless.txt": "\n".join(KINDS).encode(),
    "indexed.csv": lines(",", ["label", "index"], *((KINDS[i], i) for i in (5, 3, 1, 0, 2, 4))),
    "list.json": json.dumps(KINDS).encode(),
    "rows.jsonl": b"\n".join(json.dumps({"label": kind, "by": "me"}).encode() for kind in KINDS),
}


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_arrays_take_labels_in_their_order(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(ORDERED[name])
    pack = prepare(DataSettings(data=array_file(tmp_path, kind), labels=(str(tmp_path / name),)))
    assert pack.label_names == ("cat", "dog", "fox") and pack.split("train").labels.tolist() == NUMBERS  # type: ignore[union-attr]
    assert pack.manifest["notes"] == [f"{tmp_path / name}: not read: the columns by"] * (name == "rows.jsonl")


def test_arrays_take_an_array_of_labels_and_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array(NUMBERS) * 100 + 3)
    (tmp_path / "flags.csv").write_bytes(lines(",", ["red", "large"], *((i % 2, int(i > 2)) for i in range(6))))
    source = array_file(tmp_path, "npz", labels=np.arange(6), class_names=np.array(list("abcdef")))
    pack = prepare(DataSettings(data=source, labels=(str(tmp_path / "labels.npy"),)))
    assert pack.label_names == ("3", "103", "203") and pack.split("train").labels.tolist() == NUMBERS  # type: ignore[union-attr]
    flags = prepare(DataSettings(data=source, labels=(str(tmp_path / "flags.csv"),)))
    assert flags.attribute_names == ("red", "large") and flags.split("train").labels is None
    assert flags.split("train").attributes.tolist() == [[i % 2, int(i > 2)] for i in range(6)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lines(",", ["label"], ["a"], ["b"]), "has 2 rows for 6 images; give one row for each image"),
        (
            lines(",", ["label", "n"], *((kind if i else "", 1) for i, kind in enumerate(KINDS))),
            "says nothing of 1 images",
        ),
        (lines(",", ["a", "b"], *((kind, kind) for kind in KINDS)), "leaves open which column"),
        (lines(",", ["Label"], *([kind] for kind in KINDS[1:])), "has 5 rows for 6 images"),  # a heading is no class
        (b"PK\x03\x04\x00\x00\xff", "is no text"),
    ],
)
def test_labels_that_do_not_fit_arrays_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(DataError, match=words) as refused:
        prepare(DataSettings(data=array_file(tmp_path, "npz"), labels=(str(tmp_path / "l.csv"),)))
    one_line(refused.value)


def test_labels_of_arrays_in_several_splits_are_refused(tmp_path: Path) -> None:
    source = array_file(tmp_path, "npz", test_images=np.stack([picture(9)]))
    (tmp_path / "l.csv").write_bytes(ORDERED["one.csv"])
    with pytest.raises(SettingError, match="keep labels beside the images, as train_labels"):
        prepare(DataSettings(data=source, labels=(str(tmp_path / "l.csv"),)))
    with pytest.raises(SettingError, match="there is no such file; check the path"):
        prepare(DataSettings(data=source, labels=("no.csv",)))


def shards(tmp_path: Path) -> str:
    for shard in range(2):
        files = {f"{i:04}.png": encoded(picture(i)) for i in range(3 * shard, 3 * shard + 3)}
        tar(tmp_path / f"set-{shard:03}.tar", files)
    return f"wds:{tmp_path / 'set-{000..001}.tar'}"


@pytest.mark.parametrize(
    "names",
    [
        [f"{i:04}" for i in range(6)],
        [f"{i:04}.png" for i in range(6)],
        [f"set-{i // 3:03}/{i:04}.png" for i in range(6)],
    ],
)
def test_samples_of_shards_take_labels_by_name(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "l.csv").write_bytes(lines(",", ["id", "breed"], *pairs(names)[:5], ["0099", "cat"]))
    pack = prepare(DataSettings(data=shards(tmp_path), labels=(str(tmp_path / "l.csv"),)))
    assert pack.label_names == ("cat", "dog", "fox") and pack.split("train").labels.tolist() == NUMBERS[:5]  # type: ignore[union-attr]
    assert (pack.split("train").images == np.stack([picture(i) for i in range(5)])).all()
    notes = " ".join(pack.manifest["notes"])
    assert "1 rows name no image here" in notes and "1 images have no label" in notes and "set-001/0005.png" in notes
    (tmp_path / "l.csv").write_bytes(lines(",", ["id", "breed"], *pairs(names)))  # another file is read again
    assert len(prepare(DataSettings(data=shards(tmp_path), labels=(str(tmp_path / "l.csv"),))).split("train")) == 6


def test_labels_of_shards_as_columns_or_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(
        lines(",", ["id", "red", "large"], *((f"{i:04}", i % 2, int(i > 2)) for i in range(6)))
    )
    pack = prepare(DataSettings(data=shards(tmp_path), labels=(str(tmp_path / "l.csv"),)))
    assert pack.attribute_names == ("red", "large")
    assert pack.split("train").attributes.tolist() == [[i % 2, int(i > 2)] for i in range(6)]  # type: ignore[union-attr]
    for shard in range(2):  # one name in both
        tar(tmp_path / f"twice-{shard}.tar", {"a.png": encoded(picture(shard))})
    (tmp_path / "l.csv").write_bytes(b"id,label\na,cat")
    with pytest.raises(DataError, match=r"there are twice-0/a\.png and twice-1/a\.png; write the folder before"):
        prepare(DataSettings(data=f"wds:{tmp_path}/twice-*.tar", labels=(str(tmp_path / "l.csv"),)))
    with pytest.raises(SettingError, match="download the shards"):
        prepare(DataSettings(data="wds:http://127.0.0.1:9/a.tar", labels=(str(tmp_path / "l.csv"),)))


NUMBERED = [3, 7, 900, 7, 3, 900]


def gapped(tmp_path: Path, kind: str) -> str:
    if kind == "wds":
        pairs_of = {f"{i}.png": encoded(picture(i)) for i in range(6)} | {
            f"{i}.cls": str(n).encode() for i, n in enumerate(NUMBERED)
        }
        tar(tmp_path / "set.tar", dict(sorted(pairs_of.items())))
        return f"wds:{tmp_path / 'set.tar'}"
    if kind == "hub":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pytest.importorskip("datasets")
        (tmp_path / "hub").mkdir()
        rows = [{"bytes": encoded(picture(i)), "path": None} for i in range(6)]
        parquet.write_table(pyarrow.table({"image": rows, "label": NUMBERED}), tmp_path / "hub" / "train-0.parquet")
        return f"hub:{tmp_path / 'hub'}"
    return array_file(tmp_path, "npz", labels=np.array(NUMBERED))


@pytest.mark.parametrize("kind", ["npz", "wds", "hub"])
def test_numbers_that_leave_some_out_make_no_classes_of_those(tmp_path: Path, kind: str) -> None:
    data = gapped(tmp_path, kind)
    outlined_names = getattr(outlined(DataSettings(data=data)), "label_names", None)
    said: list[str] = []
    pack = prepare(DataSettings(data=data), say=said.append)
    assert pack.label_names == ("3", "7", "900") and pack.split("train").labels.tolist() == [0, 1, 2, 1, 0, 2]  # type: ignore[union-attr]
    assert outlined_names == (None if kind == "wds" else pack.label_names)
    assert "labels are the numbers 3, 7, 900: each of the 3 is a class with its number as its name" in said
    again: list[str] = []
    assert prepare(DataSettings(data=data), say=again.append).hash == pack.hash
    assert any("labels are the numbers" in line for line in again)  # at every use
    assert check_pack(pack).splits["train"].classes == {"3": 2, "7": 2, "900": 2}


def test_numbers_from_0_stay_as_they_are(tmp_path: Path) -> None:
    pack = prepare(DataSettings(data=array_file(tmp_path, "npz", labels=np.array([0, 1, 2, 1, 0, 2]))))
    assert pack.label_names == () and not pack.manifest["notes"]


def test_splits_share_their_classes(tmp_path: Path) -> None:
    more = {"test_images": np.stack([picture(8), picture(9)]), "test_labels": np.array([900, 5])}
    pack = prepare(DataSettings(data=array_file(tmp_path, "npz", labels=np.array(NUMBERED), **more)))
    assert pack.label_names == ("3", "5", "7", "900") and pack.split("test").labels.tolist() == [3, 1]  # type: ignore[union-attr]


def test_a_pack_made_before_is_made_again_without_phantoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gapped(tmp_path, "npz")
    with monkeypatch.context() as patched:
        patched.setattr("morphospace.data.prepare.without_gaps", lambda labels: (labels, ()))
        old = prepare(DataSettings(data=data))
    assert old.label_names == () and class_count(old.split("train")) == 901
    assert prepare(DataSettings(data=data)).label_names == ("3", "7", "900")


def test_a_dataset_in_python_has_no_phantom_classes_either() -> None:
    said: list[str] = []
    pack = from_dataset([(picture(i), n) for i, n in enumerate(NUMBERED)], say=said.append)
    assert pack.label_names == ("3", "7", "900") and "labels are the numbers 3, 7, 900" in said[0]
    with pytest.raises(DataError, match="give class numbers or names"):
        from_dataset([(picture(0), 10**40)])
