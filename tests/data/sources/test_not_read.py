"""Every file that is not read is counted, in every kind of source and at every use."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

from morphospace.data.checkup import check_pack
from morphospace.data.formats import ENDINGS
from morphospace.data.pack import Pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError

from ..conftest import encoded, one_line, picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
Write = Callable[[Path, Mapping[str, bytes]], str]


def as_folder(base: Path, files: Mapping[str, bytes]) -> str:
    for name, content in files.items():
        path = base / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return f"folder:{base / 'photos'}"


def as_zip(base: Path, files: Mapping[str, bytes]) -> str:
    with zipfile.ZipFile(base / "photos.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return f"zip:{base / 'photos.zip'}"


def as_backslashed_zip(base: Path, files: Mapping[str, bytes]) -> str:
    return as_zip(base, {name.replace("/", "\\"): content for name, content in files.items()})


def as_tar(base: Path, files: Mapping[str, bytes]) -> str:
    with tarfile.open(base / "photos.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return f"wds:{base / 'photos.tar'}"


def as_hub(base: Path, files: Mapping[str, bytes]) -> str:
    return as_folder(base, files).replace("folder:", "hub:")


EVERY = [as_folder, as_zip, as_backslashed_zip, as_tar, as_hub]


def packed(data: str, **more: object) -> tuple[Pack, list[str]]:
    """The pack, and what is said at the second use, which must hold what the first said."""
    said: tuple[list[str], list[str]] = ([], [])
    for lines in said:
        pack = prepare(DataSettings(data=data, **more), say=lambda line: None, note=lines.append)  # type: ignore[arg-type]
    assert said[0] == said[1] == list(pack.manifest["notes"])
    assert pack.path is not None
    prepare(DataSettings(data=str(pack.path)), note=(again := list[str]()).append)
    assert again == said[0]
    return pack, said[1]


def png(number: int) -> bytes:
    return encoded(picture(number))


@pytest.mark.parametrize("write", EVERY)
def test_splits_in_any_case_in_every_source(tmp_path: Path, write: Write) -> None:
    names = ["Training/cat/1", "Training/dog/2", "Testing/cat/3", "VALID/dog/4", "Training/cat/5"]
    files = {f"brain/{name}.png": png(i) for i, name in enumerate(names)}
    pack, said = packed(write(tmp_path, files), classes=True)
    assert {name: len(split) for name, split in pack.splits.items()} == {"train": 3, "valid": 1, "test": 1}
    assert pack.label_names == ("cat", "dog") and said == []
    assert pack.split("test").labels.tolist() == [0] and (pack.split("test").images[0] == picture(2)).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("write", EVERY)
def test_a_class_named_like_a_split_stays_a_class_and_is_told(tmp_path: Path, write: Write) -> None:
    files = {f"{name}/1.png": png(i) for i, name in enumerate(["apple", "pear", "test"])}
    pack, said = packed(write(tmp_path, files), classes=True)
    assert list(pack.splits) == ["train"] and pack.label_names == ("apple", "pear", "test")
    assert said == ["test is no split with apple/ beside it; all are for training"]


@pytest.mark.parametrize("write", [as_folder, as_zip])
def test_what_a_system_leaves_in_a_folder_is_no_image(tmp_path: Path, write: Write) -> None:
    left = (
        "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
        "a/@eaDir/x.jpg",
        "__MACOSX/a/._1.png",
        "$RECYCLE.BIN/x.png",
        "a/._1.png",
    )
    pack, said = packed(write(tmp_path, {"a/1.png": png(1), "b/2.png": png(2), **{name: png(3) for name in left}}))
    assert len(pack.split("train")) == 2 and "not read" not in " ".join(said)


@pytest.mark.parametrize("write", EVERY)
def test_what_is_not_read_is_counted_by_ending(tmp_path: Path, write: Write) -> None:
    files = {
        "a/1.png": png(1),
        "a/1.txt": b"a cat",
        "a/2.HEIC": HEIC,
        "b/3.heic": HEIC,
        "README.md": b"x",
        "b/film.mov": b"x",
    }
    pack, said = packed(write(tmp_path, {**files, ".DS_Store": b"x", "__MACOSX/a/._1.png": b"x", "a/Thumbs.db": b"x"}))
    lines = "\n".join(said)
    assert "2 .heic (pip install pillow-heif, or convert to .jpg)" in lines and "1 .mov (films" in lines
    if write is not as_tar:  # there, a text beside no image is a sample without one
        assert "not read: 1 .md, 1 .txt (1 named like an image)" in lines and "db" not in lines.replace("films", "")
        assert set(said) <= set(check_pack(pack).remarks)
    else:
        assert "1 .txt" in lines and pack.manifest["skipped"]["count"] == 1


@pytest.mark.parametrize("write", [as_folder, as_zip])
def test_images_by_any_name_are_read(tmp_path: Path, write: Write) -> None:
    files = {
        "1.jfif": encoded(picture(1), "JPEG"),
        "2.JPE": encoded(picture(2), "JPEG"),
        "noending": encoded(picture(3), "JPEG"),
        "n0123.photo": encoded(picture(4)),
        "5.jp2": encoded(picture(5), "JPEG2000"),
        "also no image": b"words",
        "LICENSE": b"words",
        **({"6.avif": encoded(picture(6), "AVIF")} if ".avif" in ENDINGS else {}),
    }
    pack, said = packed(write(tmp_path, files))
    assert len(pack.split("train")) == len(files) - 2 and said == ["not read: 2 without an ending"]
    assert pack.manifest["skipped"]["count"] == 0


def test_a_heic_by_another_name_says_so(tmp_path: Path) -> None:
    data = as_folder(tmp_path, {"1.png": png(1), "2.jpg": HEIC, "3": HEIC})
    pack, said = packed(data)
    assert "its format is HEIF; pip install pillow-heif" in pack.manifest["skipped"]["first"][0]["reason"]
    assert said == ["not read: 1 .heic (pip install pillow-heif, or convert to .jpg)"]


def test_heic_is_read_where_the_library_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in of pillow-heif: its opener is registered, and its files are images."""
    import importlib
    import subprocess
    import sys

    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image, PngImagePlugin\n"
        "class Heif(PngImagePlugin.PngImageFile):\n"
        "    format = 'HEIF'\n"
        "    def _open(self):\n"
        "        self.fp.seek(32)\n"
        "        import io; self.fp = io.BytesIO(self.fp.read())\n"
        "        super()._open()\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', Heif, lambda head: head[4:12] == b'ftypheic')\n"
    )
    data = as_folder(tmp_path, {"1.heic": HEIC[:32] + png(1), "2.png": png(2)})
    code = "from morphospace.data import DataSettings; from morphospace.data.prepare import prepare\n"
    code += f"print(len(prepare(DataSettings(data={data!r})).split('train')))"
    monkeypatch.setenv(
        "PYTHONPATH", f"{tmp_path}:{Path(importlib.import_module('morphospace').__file__ or '').parent.parent}"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert made.stdout.split() == ["2"], made.stderr


def test_nothing_but_foreign_files_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no image file .*2 \.heic \(pip install pillow-heif") as caught:
        prepare(DataSettings(data=as_folder(tmp_path, {"1.heic": HEIC, "2.heic": HEIC})))
    one_line(caught.value)


def test_links_to_nothing_are_counted(tmp_path: Path) -> None:
    data = as_folder(tmp_path, {"1.png": png(1)})
    (tmp_path / "photos" / "2.png").symlink_to(tmp_path / "annexed.png")
    assert packed(data)[1] == ["not read: 1 link to nothing"]


def test_one_class_is_told(tmp_path: Path) -> None:
    data = as_folder(tmp_path, {f"images/{i}.png": png(i) for i in range(3)})
    assert packed(data)[1] == []
    assert packed(data, classes=True)[1] == [
        "all images are of one class, images: each class must have a folder of its own"
    ]


def test_shards_that_only_look_like_splits_are_told(tmp_path: Path) -> None:
    for name in ("val-0", "test-0"):
        as_tar(tmp_path, {"1.png": png(len(name))})
        (tmp_path / "photos.tar").rename(tmp_path / f"{name}.tar")
    _, said = packed(f"wds:{tmp_path}")
    assert said == ["test-0.tar, val-0.tar: no split without a train shard beside; all are for training"]


def test_shards_named_by_split_in_any_form(tmp_path: Path) -> None:
    for name in ("Birds-Training-000", "birds_TEST_000"):
        as_tar(tmp_path, {"x/robin/1.png": png(1), "x/wren/2.png": png(2)})
        (tmp_path / "photos.tar").rename(tmp_path / f"{name}.tar")
    pack, said = packed(f"wds:{tmp_path}", classes=True)
    assert list(pack.splits) == ["train", "test"] and pack.label_names == ("robin", "wren") and said == []


@pytest.mark.parametrize("write", EVERY)
def test_further_pages_and_frames_are_counted(tmp_path: Path, write: Write) -> None:
    pages = [Image.fromarray(picture(i)) for i in range(4)]
    files = {"0.png": png(9)}
    for kind in ("tiff", "gif", "webp", "png"):
        pages[0].save(stream := io.BytesIO(), kind, save_all=True, append_images=pages[1:], lossless=True)
        files[f"{kind}.{kind}"] = stream.getvalue()
    pack, said = packed(write(tmp_path, files))
    assert len(pack.split("train")) == 5 and (pack.split("train").images[-2] == picture(0)).all()
    assert said[0].startswith("4 images have several pages or frames; the first of each is taken, not the 12 others")


def test_a_damaged_second_page_leaves_the_first(tmp_path: Path) -> None:
    pages = [Image.fromarray(picture(i)) for i in range(2)]
    pages[0].save(stream := io.BytesIO(), "TIFF", save_all=True, append_images=pages[1:])
    content = bytearray(stream.getvalue())
    pages[0].save(alone := io.BytesIO(), "TIFF")
    start = len(alone.getvalue())
    content[start:] = b"\xff" * (len(content) - start)
    pack, _ = packed(as_folder(tmp_path, {"1.tif": bytes(content), "2.png": png(2)}))
    assert (pack.split("train").images[0] == picture(0)).all()
