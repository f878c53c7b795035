from __future__ import annotations

import hashlib

import numpy as np
import pytest

from morphospace.data.faces import canvas, hair, painter
from morphospace.data.faces.canvas import Canvas
from morphospace.data.faces.traits import ATTRIBUTES, FACTORS, HAIR_STYLES, RANGES, draw_traits
from morphospace.data.pack import Split
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.data.sources.toyfaces import draw_faces
from morphospace.errors import SettingError

from ..conftest import one_line

ROWS = np.arange(200)


def of(data: str = "toyfaces:100", **more: object) -> DataSettings:
    return DataSettings(data=data, **more)  # type: ignore[arg-type]


def test_a_face_is_the_same_bytes_everywhere_and_ever() -> None:
    """Pinned: a changed face needs a raised VERSION, and then a new pin."""
    images, masks = draw_faces(0, ROWS, 64, ("skin", "hair", "eyes", "mouth", "glasses"))
    assert masks is not None
    said = hashlib.blake2b(images.tobytes() + masks.tobytes(), digest_size=8).hexdigest()
    assert said == "3d3b2c8851774221"


def test_face_i_depends_on_seed_and_i_alone() -> None:
    whole, masks = draw_faces(3, ROWS, 48, ("hair",), threads=2)
    order = np.random.default_rng(0).permutation(len(ROWS))[:37]
    some, some_masks = draw_faces(3, ROWS[order], 48, ("hair",), threads=1)
    assert (some == whole[order]).all() and (some_masks == masks[order]).all()  # type: ignore[index]
    assert (draw_faces(3, ROWS, 48)[0] == whole).all()
    assert not (draw_faces(4, ROWS[:1], 48)[0] == whole[:1]).all()


def test_parts_are_computed_wherever_they_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows only save time: with every part drawn over the whole picture, not a byte changes."""
    rows = np.arange(3000)
    small = draw_faces(9, rows, 32)[0]
    for module in (canvas, painter, hair):
        monkeypatch.setattr(module, "window_of", lambda side, *_: (slice(0, side), slice(0, side)))
    everywhere = draw_faces(9, rows, 32)[0]
    assert (small == everywhere).all(axis=(1, 2, 3)).all()


def test_the_canvas_is_exact() -> None:
    rng = np.random.default_rng(0)
    canvas = Canvas(2, 9, ("front", "middle", "back"))
    window = (slice(0, 9), slice(2, 7))
    lights = {"front": rng.random((2, 9, 5)), "middle": rng.random((2, 9, 5))}
    colours = {name: rng.integers(0, 256, (2, 3)) for name in canvas.index}
    for name, light in lights.items():
        canvas.put(name, window, light.astype(np.float32))
    for name, colour in colours.items():
        canvas.fill(name, colour)
    made = canvas.pictures("back")
    front, middle = (np.ones((2, 9, 9, 1)) for _ in range(2))
    front[:, :, 2:7, 0], middle[:, :, 2:7, 0] = lights["front"], lights["middle"]
    behind = middle * colours["back"][:, None, None] + (1 - middle) * colours["middle"][:, None, None]
    true = front * behind + (1 - front) * colours["front"][:, None, None]
    assert np.abs(made - true).max() <= 0.51
    assert (canvas.weights.sum(axis=1) == 65536).all()


def test_traits_are_uniform_and_independent() -> None:
    traits = draw_traits(0, np.arange(20_000))
    table = traits.factors()
    for i, (name, (low, high)) in enumerate(RANGES.items()):
        column = table[:, i]
        assert low <= column.min() and column.max() < high
        grid = np.sort((column - low) / (high - low))
        assert np.abs(grid - np.linspace(0, 1, len(grid))).max() < 0.0163, name  # Kolmogorov-Smirnov at 5e-5
    assert np.abs(np.corrcoef(table.T) - np.eye(len(FACTORS))).max() < 0.032  # 4.5 sigma
    styles = np.bincount(traits.hair_style, minlength=len(HAIR_STYLES)) / len(table)
    assert np.abs(styles - 1 / len(HAIR_STYLES)).max() < 0.01
    assert 0.29 < traits.glasses.mean() < 0.31 and 0.24 < traits.beard.mean() < 0.26


def test_labels_attributes_and_factors_agree() -> None:
    pack = prepare(of("toyfaces:500"))
    split = pack.split("train")
    assert split.labels is not None and split.attributes is not None and split.factors is not None
    column = {name: split.factors[:, i] for i, name in enumerate(pack.factor_names)}
    has = {name: split.attributes[:, i] == 1 for i, name in enumerate(pack.attribute_names)}
    assert pack.attribute_names == ATTRIBUTES and pack.label_names == HAIR_STYLES
    assert (column["hair_style"] == split.labels).all()
    assert (has["Bald"] == (split.labels == 0)).all() and (has["Smiling"] == (column["smile"] > 0.2)).all()
    assert (has["Eyeglasses"] == (column["glasses"] == 1)).all()


def test_what_is_said_is_what_is_seen() -> None:
    """Oracles that know nothing of the painter: where a part's mask is, and of which colour its pixels are."""
    pack = prepare(of("toyfaces:400", parts=("all",)))
    split = pack.split("train")
    assert split.masks is not None and split.factors is not None
    area = {name: split.masks[..., i].sum(axis=(1, 2)) for i, name in enumerate(pack.mask_names)}
    column = {name: split.factors[:, i] for i, name in enumerate(pack.factor_names)}
    assert ((area["hair"] == 0) == (split.labels == 0)).all()
    assert ((area["glasses"] > 40) == (column["glasses"] == 1)).all()
    assert ((area["beard"] > 40) == (column["beard"] == 1)).all()
    assert (area["skin"] > 200).all() and (area["mouth"] > 5).all()
    bare = column["glasses"] == 0
    assert np.corrcoef(area["eyes"][bare], column["eye_size"][bare])[0, 1] > 0.9
    skin = split.masks[..., pack.mask_names.index("skin")] == 1
    light = np.array([image[mask].mean() for image, mask in zip(split.images, skin, strict=True)])
    assert np.corrcoef(light, column["skin_tone"])[0, 1] < -0.95
    assert (split.masks.sum(axis=-1) <= 2).all()  # the nose is skin as well
    # A smile lifts the mouth's corners over its middle, a frown lowers them.
    mouth = split.masks[..., pack.mask_names.index("mouth")]
    upright = np.abs(column["tilt"]) < 0.3
    clear = upright & (np.abs(column["smile"]) > 0.5)
    rows = np.arange(64)[None, :, None]
    for i in np.flatnonzero(clear):
        across = np.flatnonzero(mouth[i].any(axis=0))
        height = (mouth[i] * rows[0]).sum(axis=0) / np.maximum(mouth[i].sum(axis=0), 1)
        corners, middle = height[across[[0, 1, -2, -1]]].mean(), height[across[len(across) // 2 - 1 :][:3]].mean()
        assert (corners < middle) == (column["smile"][i] > 0)


def test_splits_share_no_face_and_do_not_depend_on_the_count() -> None:
    small, large = prepare(of("toyfaces:40")), prepare(of("toyfaces:80"))
    assert {k: len(v) for k, v in large.splits.items()} == {"train": 80, "valid": 8, "test": 8}
    assert (large.split("train").images[:40] == small.split("train").images).all()
    assert (large.split("test").images[:4] == small.split("test").images).all()
    every = np.concatenate([s.images for s in large.splits.values()]).reshape(96, -1)
    assert len(np.unique(every, axis=0)) == 96
    assert prepare(of("toyfaces:40:1")).hash != small.hash


def test_sizes_background_and_parts() -> None:
    pack = prepare(of(size="48x40", background="#336699", parts=("skin", "hair")))
    split: Split = pack.split("train")
    assert pack.shape == (48, 40, 3) and pack.mask_names == ("skin", "hair") and split.masks is not None
    square = prepare(of(size="48", background="#336699", parts=("skin", "hair"))).split("train")
    assert square.masks is not None
    painted = (square.images == (0x33, 0x66, 0x99)).all(axis=-1)
    assert not painted[square.masks.any(axis=-1)].any()
    assert (painted | square.masks.any(axis=-1)).mean() > 0.99  # but for pixels half skin and half hair
    assert (split.images == square.images[:, :, 4:44]).all() and (split.masks == square.masks[:, :, 4:44]).all()
    usual = prepare(of())
    assert usual.mask_names == ("skin", "hair", "eyes", "mouth", "glasses") and usual.shape == (64, 64, 3)
    assert prepare(of(channels=1)).shape == (64, 64, 1)
    large = prepare(of("toyfaces:10", size="128")).split("train").images
    small = prepare(of("toyfaces:10")).split("train").images
    halved = large.reshape(10, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - small).mean() < 2  # the same faces, drawn anew and not resampled


def holes(inside: np.ndarray) -> int:
    """Pixels outside all of whose four neighbours are inside."""
    outside = ~inside[:, 1:-1, 1:-1]
    around = inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1] & inside[:, 1:-1, :-2] & inside[:, 1:-1, 2:]
    return int((outside & around).sum())


def test_the_whole_face_has_no_holes() -> None:
    """A pixel half eye and half lens is the face's, though it is of no part; bounds from the parts themselves."""
    rows = np.arange(300)
    masks = draw_faces(0, rows, 64, ("face", *painter.PARTS))[1]
    assert masks is not None
    whole, parts = masks[..., 0] == 1, masks[..., 1:].any(axis=-1)
    assert holes(parts) > 300 and holes(whole) < 20  # a bit of sky between neck and hair
    assert (whole >= parts).all() and (whole & ~parts).mean() < 0.02
    white = prepare(of("toyfaces:300", background="white")).split("train").images
    assert ((white == 255).all(axis=-1) >= ~whole).all() and (white[whole] == draw_faces(0, rows)[0][whole]).all()
    assert prepare(of(parts=("face",))).mask_names == ("face",)
    assert "face" not in prepare(of("toyfaces:10", parts=("all",))).mask_names


@pytest.mark.parametrize(
    "more",
    [
        {"data": "toyfaces:9"},
        {"data": "toyfaces:ten"},
        {"data": "toyfaces:100:1:2"},
        {"data": "toyfaces:100:-1"},
        {"data": "toyfaces:1e3"},
        {"data": "toyfaces:99999999999"},
        {"parts": ("moustache",)},
        {"background": "magenta"},
        {"background": "#12345"},
    ],
)
def test_refusals(more: dict[str, object]) -> None:
    with pytest.raises(SettingError) as caught:
        prepare(of(**more))  # type: ignore[arg-type]
    one_line(caught.value)
