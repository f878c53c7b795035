"""Inputs that are broken, hostile or merely odd: each is read correctly or named in one clear line.

None may crash, hang, run anything, write outside its folder, or leave a half pack. Over 300 are made here; those of
idx files, CelebA's lists, CelebAMask-HQ and links in circles are in `sources/`.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.data.pack import open_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError, MorphospaceError

from .conftest import encoded, one_line, picture

Build = Callable[[], bytes]


def of(data: str, **more: object) -> DataSettings:
    return DataSettings(data=data, **more)  # type: ignore[arg-type]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99999)) + chunk(b"IEND", b"")
    )


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flipped(data: bytes, seed: int) -> bytes:
    rng, broken = random.Random(seed), bytearray(data)
    for _ in range(rng.randint(1, 20)):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken)


PNG, JPEG = encoded(picture(1)), encoded(picture(2), "JPEG")
OTHERS = {kind: saved(Image.fromarray(picture(3)), kind) for kind in ("BMP", "GIF", "WEBP", "TIFF", "PPM")}


def broken_images() -> Iterator[tuple[str, bytes]]:
    """Cut or scrambled: may be read or refused, but in order."""
    for name, data in {"png": PNG, "jpg": JPEG, **{k.lower(): v for k, v in OTHERS.items()}}.items():
        for part in range(1, 16):
            yield f"cut {name} at {part}/16", data[: len(data) * part // 16]
        for seed in range(16):
            yield f"scrambled {name} {seed}", flipped(data, seed)


def refused_images() -> dict[str, bytes]:
    rng = random.Random(0)
    return {
        "empty": b"",
        "one byte": b"\x89",
        "text": b"this is no image",
        "html": b"<!DOCTYPE html><html>404</html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        "noise": rng.randbytes(4000),
        "zeros": bytes(4000),
        "bomb wide": bomb(100_000, 100_000),
        "bomb high": bomb(8, 2**31 - 1),
        "bomb zero": bomb(0, 8),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) run\n",
        "pdf": b"%PDF-1.4\n",
        "float tiff to 2": saved(Image.fromarray(np.full((8, 8), 2, np.float32)), "TIFF"),
        "nan tiff": saved(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
        "int tiff": saved(Image.fromarray(np.zeros((8, 8), np.int32)), "TIFF"),
        "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93.",
        "ico": saved(Image.new("RGB", (16, 16)), "ICO"),
    }


def odd_images() -> dict[str, tuple[bytes, tuple[int, int, int]]]:
    """What is odd and right: the bytes, and the colour its middle must have, within 3."""
    grey = Image.new("L", (16, 20), 100)
    red = Image.new("RGB", (16, 20), (200, 30, 40))
    deep = Image.fromarray(np.full((20, 16), 100 * 257, np.uint16))
    clear = Image.new("RGBA", (16, 20), (200, 30, 40, 128))
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [red, grey.convert("RGB")]
    return {
        "grey": (saved(grey, "PNG"), (100, 100, 100)),
        "bilevel": (saved(Image.new("1", (16, 20), 1), "PNG"), (255, 255, 255)),
        "16 bit": (saved(deep, "PNG"), (100, 100, 100)),
        "16 bit tiff": (saved(deep, "TIFF"), (100, 100, 100)),
        "palette": (saved(red.quantize(4), "PNG"), (200, 30, 40)),
        "palette gif": (saved(red, "GIF"), (200, 30, 40)),
        "alpha": (saved(clear, "PNG"), (100, 15, 20)),
        "alpha webp": (saved(clear, "WEBP", lossless=True), (100, 15, 20)),
        "grey alpha": (saved(Image.new("LA", (16, 20), (200, 128)), "PNG"), (100, 100, 100)),
        "cmyk": (saved(red.convert("CMYK"), "JPEG", quality=95), (200, 30, 40)),
        "cmyk tiff": (saved(red.convert("CMYK"), "TIFF"), (200, 30, 40)),
        "rotated": (saved(red.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=turned), (200, 30, 40)),
        "animated gif": (saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), (200, 30, 40)),
        "animated webp": (
            saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
            (200, 30, 40),
        ),
        "animated png": (saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), (200, 30, 40)),
        "wrong suffix": (saved(red, "BMP"), (200, 30, 40)),
        "progressive": (saved(red, "JPEG", progressive=True, quality=95), (200, 30, 40)),
        "interlaced ppm": (saved(red, "PPM"), (200, 30, 40)),
        "bytes after its end": (saved(red, "PNG") + b"trailing", (200, 30, 40)),
    }


def whole_cache(cache: Path) -> None:
    """Whatever lies in the cache is a whole pack."""
    for folder in (cache / "packs").iterdir() if (cache / "packs").is_dir() else ():
        assert ".partial-" not in folder.name and not folder.name.endswith(".lock")
        open_pack(folder, verify=True)


BROKEN, REFUSED, ODD = dict(broken_images()), refused_images(), odd_images()


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "webp", "tiff", "ppm"])
def test_cut_and_scrambled_images(tmp_path: Path, cache: Path, kind: str) -> None:
    mine = {name: data for name, data in BROKEN.items() if f" {kind} " in name}
    assert len(mine) == 31
    base = tmp_path / "images"
    base.mkdir()
    (base / "good.png").write_bytes(PNG)
    for name, data in mine.items():
        (base / f"{name.replace('/', ' of ')}.{kind}").write_bytes(data)
    pack = prepare(of(f"folder:{base}", size="8", channels=3), workers=1)
    skipped = pack.manifest["skipped"]
    assert len(pack.split("train")) + skipped["count"] == 32 and skipped["count"] >= 5
    for entry in skipped["first"]:
        assert entry["reason"] and "\n" not in entry["reason"] and "Traceback" not in entry["reason"]
    whole_cache(cache)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_images(tmp_path: Path, cache: Path, name: str) -> None:
    base = tmp_path / "images"
    base.mkdir()
    (base / "good.png").write_bytes(PNG)
    (base / "bad.png").write_bytes(REFUSED[name])
    pack = prepare(of(f"folder:{base}", size="8", channels=3))
    assert len(pack.split("train")) == 1 and [s["file"] for s in pack.manifest["skipped"]["first"]] == ["bad.png"]
    with pytest.raises(DataError, match=r"bad\.png") as caught:
        prepare(of(f"folder:{base}", size="8", channels=3, strict=True))
    one_line(caught.value)
    whole_cache(cache)


@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_read_right(tmp_path: Path, name: str) -> None:
    data, colour = ODD[name]
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "odd.jpg").write_bytes(data)
    image = prepare(of(f"folder:{tmp_path / 'i'}", size="20x16", channels=3)).split("train").images[0]
    assert np.abs(image[10, 8].astype(int) - colour).max() <= 3
    if name == "rotated":
        own = prepare(of(f"folder:{tmp_path / 'i'}"))
        assert own.shape == (20, 16, 3)


@pytest.mark.parametrize(
    "name",
    [
        "Бабочка",
        "蝶々",
        "فراشة",
        "פרפר",
        "тест ☃",
        "a'b\"c",
        "a;rm -rf x",
        "-rf",
        "%s%n",
        "a\tb",
        "e\u0301",
        "é",
        "x" * 200,
    ],
)
def test_names_in_other_scripts(tmp_path: Path, name: str) -> None:
    base = tmp_path / name
    base.mkdir()
    (base / f"{name}.png").write_bytes(PNG)
    (base / f"{name} bad.png").write_bytes(b"")
    pack = prepare(of(f"folder:{base}"))
    assert len(pack.split("train")) == 1 and pack.manifest["skipped"]["first"][0]["file"] == f"{name} bad.png"
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(base / f"{name}.png", f"{name}.png")
    assert (prepare(of(f"zip:{tmp_path / 'z.zip'}")).split("train").images == pack.split("train").images).all()


def npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def lying(
    shape: str, descr: str = "|u1", body: int = 640, fortran: bool = False, version: bytes = b"\x01\x00"
) -> bytes:
    head = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + bytes(body)


class Trap:
    """Would leave a file behind if anything unpickled it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/tmp/morphospace-trap",)


GOOD_NPY = npy(np.zeros((10, 8, 8), np.uint8))
BAD_NPY = {
    "empty": b"",
    "text": b"1,2,3",
    "pickle": npy(np.array([Trap()], object), allow_pickle=True),
    "object header": lying("(10, 8, 8)", "|O"),
    "bare pickle": b"\x80\x04K\x01.",
    "too few": lying("(11, 8, 8)"),
    "too many": lying("(9, 8, 8)"),
    "huge": lying("(10000000000, 64, 64)"),
    "overflow": lying("(4294967296, 4294967296, 8)"),
    "negative": lying("(-1, 8, 8)"),
    "float count": lying("(10.0, 8, 8)"),
    "flat": npy(np.zeros((10, 64), np.uint8)),
    "five axes": npy(np.zeros((1, 10, 8, 8, 1), np.uint8)),
    "five channels": npy(np.zeros((10, 8, 8, 5), np.uint8)),
    "none": npy(np.zeros((0, 8, 8), np.uint8)),
    "scalar": npy(np.array(3, np.uint8)),
    "int64": npy(np.zeros((10, 8, 8), np.int64)),
    "complex": npy(np.zeros((10, 8, 8), complex)),
    "text array": npy(np.full((10, 8, 8), "x")),
    "structured": npy(np.zeros((10, 8, 8), [("a", "u1")])),
    "nan": npy(np.full((10, 8, 8), np.nan, np.float32)),
    "above one": npy(np.full((10, 8, 8), 1.5, np.float32)),
    "negative floats": npy(np.full((10, 8, 8), -0.1, np.float32)),
    "fortran": npy(np.asfortranarray(np.arange(640, dtype=np.uint8).reshape(10, 8, 8))),
    "version 9": lying("(10, 8, 8)", version=b"\x09\x00"),
    "code in the header": lying("__import__('os').mkdir('/tmp/morphospace-trap')"),
    "cut header": GOOD_NPY[:40],
    "cut": GOOD_NPY[:-1],
}


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("name", BAD_NPY)
def test_bad_arrays(tmp_path: Path, cache: Path, name: str, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        path.write_bytes(BAD_NPY[name])
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", BAD_NPY[name])
    with pytest.raises(DataError) as caught:
        prepare(of(f"{kind}:{path}"))
    one_line(caught.value)
    assert not Path("/tmp/morphospace-trap").exists()
    whole_cache(cache)


BAD_TABLES = {
    "labels short": {"labels": np.zeros(9, int)},
    "labels negative": {"labels": np.full(10, -1)},
    "labels float": {"labels": np.full(10, 0.5)},
    "labels 2-d": {"labels": np.full((10, 2), 3)},
    "labels 3-d": {"labels": np.zeros((10, 2, 2), int)},
    "labels of text 2-d": {"labels": np.full((10, 2), "cat")},
    "labels of dates": {"labels": np.full(10, np.datetime64("2020-01-01"))},
    "labels complex": {"labels": np.full(10, 1j)},
    "labels not a number": {"labels": np.full(10, np.nan)},
    "labels pickled": {"labels": np.array([Trap()] * 10, object)},
    "attributes 2": {"attributes": np.full((10, 3), 2)},
    "attributes -1": {"attributes": np.full((10, 3), -1)},
    "attributes flat": {"attributes": np.zeros(10, int)},
    "attributes missing rows": {"attributes": np.zeros((9, 3), int)},
    "masks small": {"masks": np.zeros((10, 8, 8), np.uint8)},
    "masks grey": {"masks": np.full((10, 8, 8, 1), 255, np.uint8)},
    "factors short": {"factors": np.zeros((9, 2))},
    "test differs": {"test_images": np.zeros((10, 9, 9), np.uint8)},
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((10, 8, 8), np.uint8), **BAD_TABLES[name])
    with pytest.raises(DataError) as caught:
        prepare(of(f"npz:{tmp_path / 'x.npz'}"))
    one_line(caught.value)
    assert not Path("/tmp/morphospace-trap").exists()


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x.png",
        "../x.png",
        "a/../../x.png",
        "..\\x.png",
        "C:\\x.png",
        "c:/x.png",
        "//host/x.png",
        "a/../x.png",
        "/x.txt",
    ],
)
def test_zips_with_names_that_climb(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("good.png", PNG)
        archive.writestr(name, PNG)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="outside its folder") as caught:
        prepare(of(f"zip:{tmp_path / 'z.zip'}"))
    one_line(caught.value)
    assert not {p for p in tmp_path.rglob("*") if "cache" not in p.parts} - before


def zip_link() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def zip_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


BAD_ZIPS = {
    "empty": b"",
    "text": b"no zip",
    "no image": zip_of(**{"readme.txt": b"x"}),
    "nothing": zip_of(),
    "link": zip_link(),
    "only hidden": zip_of(**{".a.png": PNG, "__MACOSX/b.png": PNG}),
    "only broken": zip_of(**{"a.png": b"", "b.png": b"x"}),
    "cut": zip_of(**{"a.png": PNG})[:-30],
    "encrypted": zip_of(**{"a.png": PNG}).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"
    ),
    "unknown method": zip_of(**{"a.png": PNG}).replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00\x63\x00"),
    "damaged": (lambda z: z[:60] + bytes([z[60] ^ 255]) + z[61:])(zip_of(**{"a.png": PNG})),
    "bomb": zip_of(**{"a.png": bytes(300 << 20)}),
}


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_bad_zips(tmp_path: Path, cache: Path, name: str) -> None:
    (tmp_path / "z.zip").write_bytes(BAD_ZIPS[name])
    with pytest.raises(DataError) as caught:
        prepare(of(f"zip:{tmp_path / 'z.zip'}"))
    one_line(caught.value)
    whole_cache(cache)


MANIFESTS: dict[str, object] = {
    "shape": [8, 8, 3],
    "shape of text": ["8", "x", 1],
    "shape None": None,
    "splits": {},
    "a split of another name": {"../x": {"count": 1, "arrays": {}}},
    "format": 99,
    "hash": "0" * 32,
    "label_names": ["x"],
    "factor_names": 3,
}


@pytest.mark.parametrize("key", MANIFESTS)
def test_manifests_that_were_tampered_with(tmp_path: Path, key: str) -> None:
    pack = prepare(of("digits"), out=tmp_path / "p")
    assert pack.path is not None
    file = pack.path / "manifest.json"
    said = json.loads(file.read_text())
    said["shape" if key.startswith("shape") else "splits" if "split" in key else key] = MANIFESTS[key]
    file.write_text(json.dumps(said))
    with pytest.raises(DataError) as caught:
        open_pack(pack.path)
    one_line(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', "\ud800", '{"format":1,"splits":[]}', "[" * 100_000]
)
def test_manifests_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(MorphospaceError) as caught:
        open_pack(tmp_path / "p")
    one_line(caught.value)


def test_an_unreadable_file_is_skipped(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "i").mkdir()
    for name in ("a", "b"):
        (tmp_path / "i" / f"{name}.png").write_bytes(PNG)
    (tmp_path / "i" / "b.png").chmod(0)
    assert prepare(of(f"folder:{tmp_path / 'i'}")).manifest["skipped"]["count"] == 1


def test_there_are_enough() -> None:
    counted = (BROKEN, REFUSED, ODD, BAD_NPY, BAD_NPY, BAD_TABLES, BAD_ZIPS, MANIFESTS)
    assert sum(map(len, counted)) >= 300
