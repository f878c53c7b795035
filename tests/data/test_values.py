"""Ranges of values, transparency and the resize: the same in files, archives and arrays."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphospace.data import decode as decoding
from morphospace.data.checkup import check_pack
from morphospace.data.decode import decode
from morphospace.data.opening import read_header
from morphospace.data.pack import Pack
from morphospace.data.prepare import prepare
from morphospace.data.rule import Rule, rule_of
from morphospace.data.settings import DataSettings
from morphospace.errors import DataError, SettingError

from .conftest import encoded, one_line, picture

Save = Callable[..., str]


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Save:
    """Writes the images given as a folder, and as an archive beside it; returns `folder:PATH`."""

    def make(*images: bytes, name: str = "images", ending: str = "png") -> str:
        base = tmp_path / name
        base.mkdir()
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for i, image in enumerate(images):
                (base / f"{i:02}.{ending}").write_bytes(image)
                archive.write(base / f"{i:02}.{ending}", f"{i:02}.{ending}")
        return f"folder:{base}"

    return make


def packed(data: str, **more: Any) -> Pack:
    return prepare(DataSettings(data=data, **more))


def images_of(pack: Pack) -> np.ndarray:
    return np.asarray(pack.split("train").images)


def slices(count: int = 4, low: int = 600, high: int = 3000) -> list[np.ndarray]:
    """Twelve bits, as of a scanner."""
    rng = np.random.default_rng(0)
    made = rng.integers(low + 100, high - 100, (count, 12, 10)).astype(np.uint16)
    made[0, 0, 0], made[-1, -1, -1] = low, high
    return list(made)


def expected(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


# -- ranges ------------------------------------------------------------------------------------------------------------


def test_twelve_bits_in_sixteen_are_told_and_spread(folder: Save) -> None:
    values = slices()
    data = folder(*map(saved, values))
    plain = check_pack(packed(data))
    split = plain.splits["train"]
    assert split.levels <= 11 and split.ends == (2, 12)
    assert plain.values == {"deep": 4, "low": 600, "high": 3000}
    said = next(line for line in plain.remarks if "of 256 levels used" in line)
    assert "highest 12" in said and "600 to 3000" in said and "--range auto" in said
    spread = packed(data, range="auto")
    assert spread.manifest["rule"]["range"] == (600, 3000)
    assert (images_of(spread)[..., 0] == expected(np.stack(values), 600, 3000)).all()
    assert not [line for line in check_pack(spread).remarks if "levels" in line]
    same = packed(data, range="600:3000")
    assert same.hash == spread.hash != packed(data).hash and packed(data, range="0:4095").hash != same.hash
    # One image alone has another range; the whole set has one.
    assert images_of(spread).min() == 0 and images_of(spread)[1].min() > 0


@pytest.mark.parametrize("form", ["folder", "zip", "npy", "npz", "tiff", "big-endian npy", "wds"])
def test_a_range_means_the_same_in_every_source(folder: Save, tmp_path: Path, form: str) -> None:
    values = slices()
    folder(*map(saved, values))
    folder(*(saved(v, "TIFF") for v in values), name="tiff", ending="tif")
    np.save(tmp_path / "x.npy", np.stack(values))
    np.save(tmp_path / "b.npy", np.stack(values).astype(">u2"))
    np.savez(tmp_path / "x.npz", images=np.stack(values))
    import tarfile

    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for file in sorted((tmp_path / "images").iterdir()):
            archive.add(file, file.name)
    data = {
        "folder": f"folder:{tmp_path / 'images'}",
        "zip": f"zip:{tmp_path / 'images.zip'}",
        "tiff": f"folder:{tmp_path / 'tiff'}",
        "npy": f"npy:{tmp_path / 'x.npy'}",
        "big-endian npy": f"npy:{tmp_path / 'b.npy'}",
        "npz": f"npz:{tmp_path / 'x.npz'}",
        "wds": f"wds:{tmp_path / 'x.tar'}",
    }[form]
    pack = packed(data, range="auto")
    assert pack.manifest["rule"]["range"] == (600, 3000)
    assert (images_of(pack)[..., 0] == expected(np.stack(values), 600, 3000)).all()


def test_signed_and_float_files_need_a_range_that_says_what_black_is(folder: Save) -> None:
    signed = np.linspace(-1000, 2000, 80).reshape(8, 10).astype(np.int32)
    data = folder(saved(signed, "TIFF"), ending="tif")
    with pytest.raises(DataError, match=r"-1000 to 2000.*--range auto") as caught:
        packed(data)
    one_line(caught.value)
    assert (images_of(packed(data, range="-1000:2000"))[0, ..., 0] == expected(signed, -1000, 2000)).all()
    unit = np.linspace(0, 1, 80, dtype=np.float32).reshape(8, 10)
    lines: list[str] = []
    pack = prepare(DataSettings(data=folder(saved(unit, "TIFF"), name="unit", ending="tif")), say=lines.append)
    assert (images_of(pack)[0, ..., 0] == np.rint(unit * np.float32(255))).all()
    assert any("0 (black) to 1 (white)" in line for line in lines) and pack.manifest["notes"]
    with pytest.raises(DataError, match=r"outside \[0, 1\].*0 to 255"):
        packed(folder(saved(unit * 255, "TIFF"), name="wide", ending="tif"))
    unit[3, 4] = np.nan
    for span in (None, "0:1"):
        with pytest.raises(DataError, match="1 values that are not finite"):
            packed(folder(saved(unit, "TIFF"), name=f"nan{span}", ending="tif"), range=span)


@pytest.mark.parametrize("kind", ["int16", "int32", "int64", "uint32", "float16", "float64"])
def test_arrays_of_any_numbers(tmp_path: Path, kind: str) -> None:
    values = np.stack(slices(low=0, high=2000)).astype(kind)
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match="--range auto") as caught:
        packed(f"npy:{tmp_path / 'x.npy'}")
    assert "x.npy" in one_line(caught.value)
    assert (images_of(packed(f"npy:{tmp_path / 'x.npy'}", range="auto"))[..., 0] == expected(values, 0, 2000)).all()


def test_a_range_concerns_8_bits_only_within_them(folder: Save) -> None:
    dim = np.random.default_rng(0).integers(0, 4, (8, 8)).astype(np.uint8)
    data = folder(saved(dim))
    assert "--range auto" in " ".join(check_pack(packed(data)).remarks)
    assert (images_of(packed(data, range="auto"))[0, ..., 0] == dim * 85).all()
    assert (images_of(packed(data, range="0:4095"))[0, ..., 0] == dim).all()
    colour = Image.fromarray(np.stack([dim, dim, dim], -1)).quantize(4)
    assert set(np.unique(decode(saved(colour), Rule(8, 8, 3, range=(0, 3))))) == {0, 85, 170, 255}


@pytest.mark.parametrize("text", ["", "auto:", "5", "9:9", "9:3", "0:nan", "0:inf", "a:b", "1:2:3"])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(SettingError, match="range"):
        packed("folder:/nowhere", range=text)


def test_one_value_has_no_range(folder: Save) -> None:
    with pytest.raises(SettingError, match="all values are 7"):
        packed(folder(saved(np.full((8, 8), 7, np.uint16))), range="auto")


# -- transparency ------------------------------------------------------------------------------------------------------


def sprites() -> dict[str, Image.Image]:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[2:6, 2:6] = (20, 20, 20, 255)
    whole = Image.fromarray(pixels)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([200, 0, 0, 20, 20, 20] + [0] * 762)
    palette.paste(1, (2, 2, 6, 6))
    return {"rgba": whole, "la": whole.convert("LA"), "palette": palette}


@pytest.mark.parametrize("name", ["rgba", "la", "palette", "webp"])
@pytest.mark.parametrize("colour", [None, "white", "#102030", "keep"])
def test_every_transparency_lies_on_the_background(folder: Save, tmp_path: Path, name: str, colour: str | None) -> None:
    options = {"transparency": 0} if name == "palette" else {}
    image = sprites()["rgba" if name == "webp" else name]
    blob = saved(image, "WEBP", lossless=True) if name == "webp" else saved(image, **options)
    data = folder(blob, ending="webp" if name == "webp" else "png")
    behind = {None: (0, 0, 0), "keep": (0, 0, 0), "white": (255, 255, 255), "#102030": (16, 32, 48)}[colour]
    for each in (data, f"zip:{tmp_path / 'images.zip'}"):
        pack = packed(each, background=colour, channels=3)
        assert (images_of(pack)[0, 0, 0] == behind).all() and (images_of(pack)[0, 3, 3] == 20).all()
        found = check_pack(pack)
        assert found.values["transparent"] == 1 and "1 images have transparent pixels" in " ".join(found.remarks)


@pytest.mark.parametrize("layout", ["last", "first", "la", "float", "uint16"])
def test_transparent_arrays(tmp_path: Path, layout: str) -> None:
    rgba = np.asarray(sprites()["rgba"])[None].repeat(3, 0)
    array = {
        "last": rgba,
        "first": rgba.transpose(0, 3, 1, 2),
        "la": rgba[..., 2:],
        "float": rgba / np.float32(255),
        "uint16": rgba.astype(np.uint16) * 257,
    }[layout]
    np.savez(tmp_path / "x.npz", images=array)
    pack = packed(f"npz:{tmp_path / 'x.npz'}", background="white")
    assert pack.shape[2] == (1 if layout == "la" else 3) and pack.manifest["values"]["transparent"] == 3
    assert (images_of(pack)[:, 0, 0] == 255).all() and (images_of(pack)[:, 3, 3] == 20).all()


def test_opaque_images_are_not_counted_and_padding_has_the_background(folder: Save) -> None:
    opaque = saved(Image.fromarray(picture(1, 8, 16)).convert("RGBA"))
    pack = packed(folder(opaque), size="8", crop="pad", background="#ff0000")
    assert "transparent" not in pack.manifest["values"]
    assert (images_of(pack)[0, 0] == (255, 0, 0)).all()
    grey = decode(encoded(picture(1, 8, 16, 1)), Rule(8, 8, 1, "pad", background=(255, 0, 0)))
    assert (grey[0] == 76).all()


# -- the resize --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "size"), [(16, 32), (64, 16), (16, 24), (16, 16)])
def test_nearest_keeps_the_colours_and_takes_one_of_each_block(folder: Save, own: int, size: int) -> None:
    rng = np.random.default_rng(own)
    small = np.array([[0, 0, 0], [255, 0, 77], [41, 173, 255]], np.uint8)[rng.integers(0, 3, (16, 16))]
    data = folder(saved(Image.fromarray(small).resize((own, own), Image.Resampling.NEAREST)))
    smooth = check_pack(packed(data, size=str(size)))
    assert bool(smooth.values.get("few_colours")) == (own != size)
    assert ("--resize nearest" in " ".join(smooth.remarks)) == (own != size)
    pack = packed(data, size=str(size), resize="nearest")
    made = images_of(pack)[0]
    assert pack.manifest["rule"]["resize"] == "nearest" and (pack.hash != packed(data, size=str(size)).hash) == (
        own != size
    )
    assert {tuple(c) for c in made.reshape(-1, 3)} <= {(0, 0, 0), (255, 0, 77), (41, 173, 255)}
    if size % 16 == 0:
        assert (made == small.repeat(size // 16, 0).repeat(size // 16, 1)).all()


def test_photos_get_no_advice_for_pixel_art(folder: Save) -> None:
    found = check_pack(packed(folder(*(encoded(picture(i)) for i in range(3))), size="8"))
    assert "nearest" not in " ".join(found.remarks)


def test_the_old_default_and_other_filters(folder: Save) -> None:
    data = folder(encoded(picture(0, 40, 32)))
    assert packed(data, size="16").hash == packed(data, size="16", resize="bicubic").hash
    made = {
        images_of(packed(data, size="16", resize=each)).tobytes() for each in ("bicubic", "bilinear", "box", "lanczos")
    }
    assert len(made) == 4


# -- large images ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["center", "stretch", "pad"]),
    st.sampled_from(["bicubic", "nearest", "box"]),
    st.sampled_from(["RGB", "L", "RGBA", "LA", "P", "I;16", "F"]),
    st.integers(1, 8),
)
def test_bands_make_the_same_bytes(
    h: int, w: int, height: int, width: int, crop: str, resize: str, mode: str, turn: int
) -> None:
    rng = np.random.default_rng(h * 100 + w)
    if mode in ("I;16", "F"):
        image = Image.fromarray(rng.integers(0, 60000, (h, w)).astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = Image.fromarray(rng.integers(0, 256, (h, w, 4)).astype(np.uint8))
        image = image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    blob = saved(image, "TIFF" if mode == "F" else "PNG", exif=exif)
    span = (0, 60000) if mode == "F" else None
    rule = Rule(height, width, 3, crop, resize=resize, background=(9, 99, 199), range=span)  # type: ignore[arg-type]
    whole = decode(blob, rule)
    usual = decoding.BAND_PIXELS
    try:
        decoding.BAND_PIXELS = 64
        assert (decode(blob, rule) == whole).all()
    finally:
        decoding.BAND_PIXELS = usual


MEASURED = """
import sys
from morphospace.data.decode import decode
from morphospace.data.rule import Rule

def of(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024

before = of("VmRSS")
decode(sys.argv[1], Rule(64, 64, 3))
print(of("VmHWM") - before, of("VmRSS") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_a_large_image_takes_little_more_than_its_own_pixels(tmp_path: Path, mode: str) -> None:
    """16 million pixels: 64 MB, or 32 of 16 bits. Copies of all of it were 570 and 350."""
    Image.new(mode, (4000, 4000), (10, 200, 30, 128) if mode == "RGBA" else 3000).save(tmp_path / "x.png")
    said = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path / "x.png"], capture_output=True, text=True, check=True
    )
    peak, after = map(float, said.stdout.split())
    assert peak < (64 if mode == "RGBA" else 32) + 35 and after < 20


def test_the_limit_is_a_setting_and_the_reason_is_told(folder: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(saved(Image.new("1", (1200, 1000))))
    with pytest.raises(DataError, match=r"none of its 1 image files.*1200x1000 is more than 1,000,000.*--max-pixels"):
        packed(data, max_pixels=1_000_000)
    assert packed(data, max_pixels=1_200_000).shape == (1000, 1200, 1)
    with pytest.raises(SettingError, match="max_pixels"):
        DataSettings(max_pixels=0)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own limit says nothing of ours
    assert read_header(saved(Image.new("1", (100, 100)))).width == 100
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_webp_is_copied_while_it_is_decoded() -> None:
    blob = saved(Image.new("RGB", (1200, 1000)), "WEBP")
    with pytest.raises(DataError, match="more than 1,000,000"):
        decode(blob, Rule(8, 8, 3, max_pixels=2_000_000))


# -- what is asked of packs, and read back -----------------------------------------------------------------------------


def test_a_pack_takes_the_settings_that_it_was_made_with(folder: Save, tmp_path: Path) -> None:
    data = folder(*map(saved, slices()))
    prepare(DataSettings(data=data, range="auto", background="white", resize="nearest"), out=tmp_path / "pack")
    there = str(tmp_path / "pack")
    for good in ({"range": "auto"}, {"range": "600:3000"}, {"background": "#ffffff"}, {"resize": "nearest"}):
        packed(there, **good)
    for bad in ({"range": "0:4095"}, {"background": "black"}, {"resize": "box"}):
        with pytest.raises(SettingError, match="packed already, with"):
            packed(there, **bad)


def test_a_rule_comes_back_from_its_text() -> None:
    rule = Rule(8, 9, 3, "pad", 77_000_000, (1, 2, 3), "nearest", (-1.5, 3))
    assert rule_of((8, 9, 3), rule.ways(), 77_000_000) == rule and rule_of((8, 9, 3), {}) == Rule(8, 9, 3)
    for bad in ({"crop": "x"}, {"range": [3]}, {"range": "abc"}, {"range": 3}, {"background": 7}, {"resize": ["a"]}):
        with pytest.raises(DataError, match="cannot be read"):
            rule_of((8, 9, 3), bad)
