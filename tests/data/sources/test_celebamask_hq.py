from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.data.prepare import fetch, prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources.celebamask_hq import PARTS
from morphospace.data.sources.toyfaces import draw_faces
from morphospace.errors import DataError, SettingError

from ..conftest import one_line, picture

NEAREST, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BICUBIC


def of(root: Path, **more: object) -> DataSettings:
    return DataSettings(data="celebamask-hq", root=str(root), **more)  # type: ignore[arg-type]


def class_map(seed: int) -> np.ndarray:
    """Blocks of 32 pixels of classes 0..18, the border background."""
    rng = random.Random(seed)
    blocks = np.array([[rng.randint(0, 18) for _ in range(16)] for _ in range(16)], np.uint8)
    blocks[[0, -1]] = blocks[:, [0, -1]] = 0
    return np.kron(blocks, np.ones((32, 32), np.uint8))


def split_into_parts(levels: np.ndarray, folder: Path, number: int) -> None:
    """The original layout, from a class map: one PNG of 0 and 255 for each part that is there."""
    folder = folder / "CelebAMask-HQ-mask-anno" / str(number // 2000)
    folder.mkdir(parents=True, exist_ok=True)
    for value, part in enumerate(PARTS, start=1):
        if (levels == value).any():
            layer = ((levels == value) * 255).astype(np.uint8)
            Image.fromarray(np.stack([layer] * 3, -1)).save(folder / f"{number:05}_{part}.png")  # as published: RGB


def layout(root: Path, numbers: tuple[int, ...] = (0, 1, 2001), side: int = 600) -> Path:
    base = root / "CelebAMask-HQ"
    (base / "CelebA-HQ-img").mkdir(parents=True)
    for n in numbers:
        Image.fromarray(picture(n, side, side)).save(base / "CelebA-HQ-img" / f"{n}.jpg", quality=95)
        split_into_parts(class_map(n), base, n)
    return base


def reference(
    image: Path, levels: np.ndarray, size: int, classes: set[int], colour: tuple[int, int, int]
) -> np.ndarray:
    """recipes.md section 2, word for word, with nothing of ours: resize to 512, paint, resize."""
    with Image.open(image) as opened:
        pixels = np.array(opened.convert("RGB").resize((512, 512), BICUBIC))
    kept = Image.fromarray(np.isin(levels, list(classes)))
    plain = Image.new("RGB", (512, 512), colour)
    plain.paste(Image.fromarray(pixels), mask=kept)
    pixels = np.asarray(plain)
    return np.asarray(Image.fromarray(pixels).resize((size, size), BICUBIC))


@pytest.mark.parametrize(
    ("parts", "background", "colour"), [((), None, (0, 0, 0)), (("hair", "eyes"), "white", (255,) * 3)]
)
def test_it_is_the_reference_pixel_for_pixel(
    tmp_path: Path, parts: tuple[str, ...], background: str | None, colour: tuple[int, int, int]
) -> None:
    base = layout(tmp_path)
    classes = {PARTS.index(p) + 1 for p in ("hair", "l_eye", "r_eye")} if parts else set(range(1, 19))
    pack = prepare(of(tmp_path, parts=parts, background=background))
    split = pack.split("train")
    assert pack.mask_names == (parts or ("face",)) and split.masks is not None and len(split) == 3
    for i, n in enumerate((0, 1, 2001)):
        wanted = reference(base / "CelebA-HQ-img" / f"{n}.jpg", class_map(n), 64, classes, colour)
        assert (split.images[i] == wanted).all()
        inside = np.kron(np.isin(class_map(n)[::32, ::32], list(classes)), np.ones((4, 4), bool))
        assert (split.masks[i].any(axis=-1) == inside).all()


def drawn_map(number: int) -> np.ndarray:
    """A class map of a drawn face: smooth outlines, which cross the pixels of the small picture anywhere."""
    parts = {"clothes": "cloth", "skin": "skin", "nose": "nose", "beard": "skin", "mouth": "mouth", "eyes": "l_eye"}
    parts |= {"brows": "r_brow", "glasses": "eye_g", "hair": "hair"}
    masks = draw_faces(5, np.array([number]), 512, tuple(parts))[1]
    assert masks is not None
    levels = np.zeros((512, 512), np.uint8)
    for i, part in enumerate(parts.values()):
        levels[masks[0, ..., i] == 1] = PARTS.index(part) + 1
    return levels


@pytest.mark.parametrize("size", [64, 48])
def test_drawn_faces_in_the_original_layout(tmp_path: Path, size: int) -> None:
    """What the four real pairs show, on stand-ins: images of 1024, masks of 512, the masks resized by Pillow alone."""
    base = tmp_path / "CelebAMask-HQ"
    (base / "CelebA-HQ-img").mkdir(parents=True)
    for n in range(2):
        face = draw_faces(5, np.array([n]), 1024)[0][0]
        Image.fromarray(face).save(base / "CelebA-HQ-img" / f"{n}.jpg", quality=92)
        split_into_parts(drawn_map(n), base, n)
    for parts, classes in (((), set(range(1, 19))), (("hair", "skin"), {13, 1})):
        split = prepare(of(tmp_path, parts=parts, size=str(size), background="#204060")).split("train")
        for n in range(2):
            levels = drawn_map(n)
            wanted = reference(base / "CelebA-HQ-img" / f"{n}.jpg", levels, size, classes, (0x20, 0x40, 0x60))
            assert len(np.unique(levels)) > 5 and (split.images[n] == wanted).all()
            assert split.masks is not None
            for i, kept in enumerate([{13}, {1}] if parts else [classes]):
                layer = Image.fromarray(np.isin(levels, list(kept)).astype(np.uint8) * np.uint8(255))
                assert (split.masks[n, ..., i] == (np.asarray(layer.resize((size, size), BICUBIC)) >= 128)).all()
    whole = prepare(of(tmp_path, parts=("face",)))
    assert whole.hash == prepare(of(tmp_path)).hash and whole.mask_names == ("face",)


def test_class_maps_are_an_alternative(tmp_path: Path) -> None:
    one = prepare(of(tmp_path / "one", parts=("all",))) if layout(tmp_path / "one") else None
    base = layout(tmp_path / "two")
    (base / "CelebAMask-HQ-mask-anno").rename(tmp_path / "away")
    (base / "CelebAMask-HQ-mask").mkdir()
    for n in (0, 1, 2001):
        Image.fromarray(class_map(n)).save(base / "CelebAMask-HQ-mask" / f"{n}.png")
    two = prepare(of(tmp_path / "two", parts=("all",)))
    assert one is not None and one.hash == two.hash and one.mask_names == PARTS


def test_keep_paints_nothing(tmp_path: Path) -> None:
    base = layout(tmp_path, (0,))
    split = prepare(of(tmp_path, background="keep", parts=("hair",))).split("train")
    assert (
        split.images[0] == reference(base / "CelebA-HQ-img/0.jpg", class_map(0), 64, set(range(19)), (0, 0, 0))
    ).all()


def test_attributes(tmp_path: Path) -> None:
    base = layout(tmp_path)
    (base / "CelebAMask-HQ-attribute-anno.txt").write_text("3\nMale Young\n0.jpg  1 -1\n1.jpg -1 1\n7.jpg 1 1\n")
    lines: list[str] = []
    pack = prepare(of(tmp_path), say=lines.append)
    assert pack.attribute_names == ("Male", "Young") and len(pack.split("train")) == 2
    assert pack.split("train").attributes.tolist() == [[1, 0], [0, 1]]  # type: ignore[union-attr]
    assert any("2 of 3 listed" in line for line in lines) and any("1 images are not listed" in line for line in lines)


def spoil_all(base: Path) -> None:
    for file in (base / "CelebAMask-HQ-mask-anno/0").glob("00001_*"):
        file.unlink()


def spoil_cut(base: Path) -> None:
    file = base / "CelebAMask-HQ-mask-anno/0/00001_skin.png"
    file.write_bytes(file.read_bytes()[:200])


def spoil_shape(base: Path) -> None:
    Image.new("L", (512, 300)).save(base / "CelebAMask-HQ-mask-anno/0/00001_skin.png")


def spoil_blank(base: Path) -> None:
    for file in (base / "CelebAMask-HQ-mask-anno/0").glob("00001_*"):
        Image.new("L", (512, 512)).save(file)


def spoil_image(base: Path) -> None:
    (base / "CelebA-HQ-img/1.jpg").write_bytes(b"")


@pytest.mark.parametrize("spoil", [spoil_all, spoil_cut, spoil_shape, spoil_blank, spoil_image])
def test_what_cannot_be_prepared_is_reported_and_left_out(tmp_path: Path, spoil: object) -> None:
    whole = prepare(of(tmp_path)) if layout(tmp_path) else None
    spoil(tmp_path / "CelebAMask-HQ")  # type: ignore[operator]
    lines: list[str] = []
    pack = prepare(of(tmp_path), say=lines.append)
    assert whole is not None and (pack.split("train").images == whole.split("train").images[[0, 2]]).all()
    assert (pack.split("train").masks == whole.split("train").masks[[0, 2]]).all()  # type: ignore[index]
    assert pack.manifest["skipped"]["count"] == 1 and any("skipped 1" in line and "1.jpg" in line for line in lines)
    with pytest.raises(DataError, match=r"1\.jpg") as caught:
        prepare(of(tmp_path, strict=True))
    one_line(caught.value)


def test_masks_of_another_size_are_resampled(tmp_path: Path) -> None:
    base = layout(tmp_path)
    before = prepare(of(tmp_path))
    for file in (base / "CelebAMask-HQ-mask-anno/0").glob("00001_*"):
        with Image.open(file) as image:
            image.resize((1024, 1024), NEAREST).save(file)
    assert prepare(of(tmp_path)).hash == before.hash


def test_refusals_and_manual_steps(tmp_path: Path) -> None:
    for call in (lambda: prepare(of(tmp_path)), lambda: fetch("celebamask-hq", tmp_path)):
        with pytest.raises(DataError, match=r"non-commercial.*unpack it so that .*CelebA-HQ-img") as caught:
            call()
        one_line(caught.value)
    layout(tmp_path, (0,))
    with pytest.raises(SettingError, match="did you mean 'hair'") as refused:
        prepare(of(tmp_path, parts=("hiar",)))
    one_line(refused.value)
    assert prepare(of(tmp_path, parts=("lips", "hat"))).mask_names == ("lips", "hat")


@pytest.mark.real
@pytest.mark.skipif("MORPHOSPACE_DATA" not in os.environ, reason="MORPHOSPACE_DATA is not set")
def test_the_four_real_pairs(tmp_path: Path) -> None:
    """Class maps split into the original layout, against the reference; and the maps themselves."""
    real = Path(os.environ["MORPHOSPACE_DATA"]) / "celebamask_hq" / "MaskGAN_demo" / "samples"
    if not real.is_dir():
        pytest.skip("the real pairs are not below MORPHOSPACE_DATA")
    base = tmp_path / "CelebAMask-HQ"
    (base / "CelebA-HQ-img").mkdir(parents=True)
    maps = {}
    for n in range(4):
        (base / "CelebA-HQ-img" / f"{n}.jpg").write_bytes((real / f"{n}.jpg").read_bytes())
        with Image.open(real / f"{n}.png") as image:
            maps[n] = np.asarray(image)
        split_into_parts(maps[n], base, n)
    for parts, classes in (((), set(range(1, 19))), (("hair", "skin"), {13, 1})):
        split = prepare(of(tmp_path, parts=parts)).split("train")
        for n in range(4):
            wanted = reference(real / f"{n}.jpg", maps[n], 64, classes, (0, 0, 0))
            assert (split.images[n] == wanted).all()
        direct = prepare(of(Path(os.environ["MORPHOSPACE_DATA"]), parts=parts)).split("train")
        assert (direct.images == split.images).all() and (direct.masks == split.masks).all()
