"""Labels that stand in a file: in every form, in folders and zips, and what does not fit is said."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError, MorphospaceError, SettingError

from ..conftest import encoded, one_line, picture
from .test_not_read import as_backslashed_zip, as_folder, as_hub, as_zip, packed

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
        (b"\xff\xfe\0\0", "has no rows|names no image"),
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
