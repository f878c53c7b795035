"""Conditional models through the Python API: what is asked for is what is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import morphospace as ms
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.errors import RunError, SettingError

NAMES = ("left", "middle", "right")
MLP = {"tower": "mlp", "widths": (32,), "latent_dim": 2, "device": "cpu", "precision": "fp32"}
LONG = {**MLP, "epochs": 20, "batch_size": 16, "lr": 5e-3, "checkpoint_images": 10**6, "report_images": 10**6}


def bars(count: int = 512) -> Split:
    """Draw a bright column, each class in its place; attribute `low` darkens its upper half, `thin` says nothing."""
    rng = np.random.default_rng(0)
    labels, attributes = rng.integers(0, 3, count), rng.integers(0, 2, (count, 2))
    images = np.zeros((count, 9, 9, 1), np.uint8)
    for image, label, (_, low) in zip(images, labels, attributes):
        image[:, 3 * label : 3 * label + 2] = rng.integers(150, 255)
        image[: 4 * low] = 0
    return Split(images, labels=labels.astype(np.int64), attributes=attributes.astype(np.uint8))


def bar_pack(**names: tuple[str, ...]) -> Pack:
    return in_memory_pack("bars", bars(), **{"label_names": NAMES, "attribute_names": ("thin", "low"), **names})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    kinds = {"label": "label", "attributes": "attributes:low"}
    return {
        name: ms.train("cvae", data=bar_pack(), out=folder / name, condition=text, **LONG)
        for name, text in kinds.items()
    }


def place(images: np.ndarray) -> list[int]:
    """Return the third of each image where most light is."""
    return images.reshape(len(images), 9, 3, 3).sum((1, 3)).argmax(1).tolist()


def test_a_class_is_drawn_by_number_and_by_name(runs: dict[str, ms.Run]) -> None:
    for number, name in enumerate(NAMES):
        images = ms.sample(runs["label"], 16, seed=1, label=name)
        assert place(images) == [number] * 16
        assert np.array_equal(images, ms.sample(runs["label"], 16, seed=1, label=number))


def test_attributes_are_drawn_and_are_0_when_not_named(runs: dict[str, ms.Run]) -> None:
    run = runs["attributes"]
    upper = {value: ms.sample(run, 16, attributes={"low": value})[:, :4].mean() for value in (0, 1)}
    assert upper[1] < 0.2 * upper[0]
    assert np.array_equal(ms.sample(run, 4, attributes={}), ms.sample(run, 4, attributes={"low": 0}))


def test_every_class_in_turn_when_none_is_asked_for(runs: dict[str, ms.Run]) -> None:
    images = ms.sample(runs["label"], 7, seed=2)
    assert place(images) == [0, 1, 2, 0, 1, 2, 0]
    assert np.abs(ms.sample(runs["label"], 3, seed=2, start=4).astype(int) - images[4:]).max() <= 1


def test_a_grid_has_a_class_a_row_and_a_code_a_column(runs: dict[str, ms.Run]) -> None:
    made = ms.sample_grid(runs["label"], 5, seed=3)
    assert made.rows == NAMES and made.columns == 5 and made.images.shape == (15, 9, 9, 1)
    for row, name in enumerate(NAMES):
        asked = ms.sample(runs["label"], 5, seed=3, label=name)
        assert np.abs(made.images[5 * row : 5 * row + 5].astype(int) - asked).max() <= 1
    assert ms.sample_grid(runs["attributes"].path, 2).rows == ("low=0", "low=1")


def test_the_grids_drawn_in_training_are_the_same(runs: dict[str, ms.Run]) -> None:
    path = sorted((runs["label"].path / "samples").glob("*.png"))[-1]
    sheet = np.asarray(Image.open(path))
    made = ms.sample_grid(runs["label"], 8, seed=0)
    side = (sheet.shape[0] - 2) // 3
    assert sheet.shape[1] > 2 + 8 * side  # the names of the rows are at the left
    sheet = sheet[:, -(2 + 8 * side) :]
    assert json.loads(Image.open(path).info["morphospace"])["rows"] == list(NAMES)
    cell = sheet[2 + 2 * side : 3 * side, 2 + 5 * side : 6 * side]  # row 2, column 5
    assert np.abs(cell[:: side // 9, :: side // 9][:9, :9].astype(int) - made.images[2 * 8 + 5, ..., 0]).max() <= 1


def test_conditions_survive_loading_and_reconstruct_by_their_own(runs: dict[str, ms.Run]) -> None:
    loaded = ms.load(runs["label"].path)
    assert loaded.model.conditioning == runs["label"].model.conditioning
    assert np.array_equal(ms.sample(loaded, 4, label=1), ms.sample(runs["label"], 4, label=1))
    made = ms.reconstruct(loaded, 12, data=bar_pack())
    assert place(made.images) == place(made.originals)


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    run = ms.train("cgan", data=bar_pack(label_names=()), out=tmp_path / "r", images=64, batch_size=32, **MLP)
    assert ms.sample_grid(ms.load(run.path), 2).rows == ("0", "1", "2")


def refusals() -> list[tuple[dict, str]]:
    return [
        ({"condition": "label", "data": in_memory_pack("b", bars().images)}, "has no labels"),
        ({"condition": "attributes:low", "data": in_memory_pack("b", bars().images)}, "has no attributes"),
        ({"condition": "attributes:lwo"}, r"no attribute 'lwo' \(did you mean 'low'\?\)"),
        ({"condition": "attributes:low,low"}, "twice"),
        ({"condition": "attributes:"}, "must be 'label' or 'attributes:NAME,NAME'"),
        ({"condition": "labels"}, "must be 'label' or 'attributes:NAME,NAME'"),
        ({"condition": ""}, "condition = ''"),
        (
            {"data": in_memory_pack("b", Split(bars().images, labels=np.full(512, 10**9)))},
            "highest label is 1000000000",
        ),
    ]


@pytest.mark.parametrize("model", ["cvae", "cgan"])
@pytest.mark.parametrize("case", range(len(refusals())))
def test_a_condition_that_the_data_cannot_meet(model: str, case: int, tmp_path: Path) -> None:
    change, message = refusals()[case]
    with pytest.raises(SettingError, match=message) as refused:
        ms.train(model, out=tmp_path / "r", images=64, **{**MLP, "data": bar_pack(), **change})
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_another_condition_is_another_run(runs: dict[str, ms.Run]) -> None:
    with pytest.raises(RunError, match="condition = 'attributes:low', was 'label'"):
        ms.train("cvae", data=bar_pack(), out=runs["label"].path, condition="attributes:low", **LONG)


def test_what_a_model_cannot_be_asked_for(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    label, attributes = runs["label"], runs["attributes"]
    for asked, message in (
        ({"label": "rihgt"}, r"did you mean 'right'"),
        ({"label": 3}, "from 0 to 2"),
        ({"label": -1}, "from 0 to 2"),
        ({"attributes": {"low": 1}}, "conditioned on labels"),
        ({"label": 1, "attributes": {"low": 1}}, "does not go with"),
    ):
        with pytest.raises(SettingError, match=message):
            ms.sample(label, 2, **asked)
    with pytest.raises(SettingError, match=r"conditioned on attributes \(low\)"):
        ms.sample(attributes, 2, label=1)
    with pytest.raises(SettingError, match=r"'lo': .*did you mean 'low'"):
        ms.sample(attributes, 2, attributes={"lo": 1})
    plain = ms.train("vae", data=bar_pack(), out=tmp_path / "r", images=64, batch_size=32, **MLP)
    with pytest.raises(SettingError, match="label = 1: vae takes no condition"):
        ms.sample(plain, 2, label=1)
    with pytest.raises(SettingError, match="vae takes no condition"):
        ms.sample(plain, 2, attributes={})
    with pytest.raises(SettingError, match="no class a row"):
        ms.sample_grid(plain)
    with pytest.raises(SettingError, match="columns = 0"):
        ms.sample_grid(label, 0)
    with pytest.raises(SettingError, match="prior = 'gausian'"):
        ms.sample_grid(label, 2, prior="gausian")
