"""Conditional models on the command line: trained on what is asked, drawn as asked, refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.cli.flags import split_lists
from morphospace.cli.preview import condition_of_data
from morphospace.runs.configuration import resolve
from tests.conftest import draw_blobs

from .conftest import TINY, Morpho
from .test_refusals import check

TRAIN = [*TINY, "--widths", "4"]
CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train one tiny conditional model on labels and one on attributes."""
    from morphospace.cli import main

    folder = tmp_path_factory.mktemp("conditional")
    assert main(["train", "cgan", *TRAIN, "--out", str(folder / "label")]) == 0
    faces = folder / "celeba" / "img_align_celeba"
    faces.mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 65)]
    for name, pixels in zip(names, draw_blobs(64, (109, 89, 3))):
        Image.fromarray(pixels).save(faces / name)
    (faces.parent / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in names))
    rows = "".join(f"{name} {1 if i % 2 else -1} -1 1\n" for i, name in enumerate(names))
    (faces.parent / "list_attr_celeba.txt").write_text(f"64\nSmiling Bald Male\n{rows}")
    words = ["--data", "celeba", "--root", str(folder), "--size", "8", "--images", "64", "--batch-size", "32"]
    words += ["--widths", "4", "--condition", "attributes:Smiling,Male", "--out", str(folder / "attributes")]
    assert main(["train", "cvae", *words]) == 0
    return {name: folder / name for name in ("label", "attributes")}


def test_a_condition_is_no_list() -> None:
    for words in (["--condition", "attributes:Smiling,Male"], ["--condition=attributes:Smiling,Male"]):
        line = ["train", "cvae", "--widths", "4,8", *words, "--betas", "0.5,0.9"]
        assert split_lists(line) == ["train", "cvae", "--widths", "4", "8", *words, "--betas", "0.5", "0.9"]
    line = ["sample", "r", "--attributes", "Smiling=1,Male=0"]
    assert split_lists(line) == line


def test_the_condition_reaches_the_settings(morpho: Morpho) -> None:
    for model in ("cvae", "cgan"):
        assert morpho("train", model, "--dry-run", "--json").json["model"]["condition"] == "label"
        condition = "attributes:Smiling,Eyeglasses"
        said = morpho("train", model, "--data", "toyfaces:20", "--condition", condition, "--dry-run", "--json")
        assert said.json["model"]["condition"] == condition


def test_a_class_a_row_is_the_default(morpho: Morpho, made: dict[str, Path], tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    told = morpho("sample", made["label"], "--out", picture, "--json").json
    assert told["rows"] == CLASSES and told["columns"] == 8 and told["n"] == 80
    assert json.loads(Image.open(picture).info["morphospace"])["rows"] == CLASSES
    assert Image.open(picture).height == 2 + 10 * 66 and Image.open(picture).width > 2 + 8 * 66
    told = morpho("sample", made["label"], "--n", 12, "--out", picture, "--json").json
    assert told["columns"] == 2 and told["n"] == 20
    said = morpho("sample", made["attributes"], "--out", picture)
    assert said.out.startswith("32 samples at 64 images")
    assert "Smiling=0, Male=0; Smiling=0, Male=1; Smiling=1, Male=0; Smiling=1, Male=1" in said.out


def test_down_a_column_only_the_class_changes(morpho: Morpho, made: dict[str, Path], tmp_path: Path) -> None:
    """The sheet's row of 7 is what `--label 7` draws from the same codes."""
    sheet, row = tmp_path / "sheet.png", tmp_path / "row.png"
    assert morpho("sample", made["label"], "--seed", 5, "--out", sheet).code == 0
    assert morpho("sample", made["label"], "--seed", 5, "--label", 7, "--n", 1, "--out", row).code == 0
    whole, one = np.asarray(Image.open(sheet)).astype(int), np.asarray(Image.open(row)).astype(int)
    whole = whole[:, -(2 + 8 * 66) :]  # without the names at the left
    assert np.abs(whole[7 * 66 : 8 * 66 + 2, : 66 + 2] - one).max() <= 1


def test_one_class_or_some_attributes(morpho: Morpho, made: dict[str, Path], tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    said = morpho("sample", made["label"], "--label", "3", "--out", picture)
    assert said.out == f"64 samples of 3 at 320 images: {picture}\n"
    told = morpho("sample", made["attributes"], "--attributes", "Male=0.5", "--n", 4, "--out", picture, "--json").json
    assert told["condition"] == "Smiling=0, Male=0.5" and told["n"] == 4 and "rows" not in told
    told = morpho("sample", made["attributes"], "--attributes=Smiling=1,Male=0", "--out", picture, "--json").json
    assert told["condition"] == "Smiling=1, Male=0"


def test_a_prior_fitted_to_a_conditional_models_codes(morpho: Morpho, tmp_path: Path) -> None:
    run, pictures = tmp_path / "r", [tmp_path / "a.png", tmp_path / "b.png"]
    assert morpho("train", "cvae", *TRAIN, "--out", run).code == 0
    for prior, picture in zip(("gaussian", "model"), pictures):
        said = morpho("sample", run, "--label", "3", "--n", 4, "--prior", prior, "--out", picture, "--json")
        assert said.json["condition"] == "3"
    assert pictures[0].read_bytes() != pictures[1].read_bytes()


def test_training_says_how_many_parameters(morpho: Morpho, made: dict[str, Path], tmp_path: Path) -> None:
    said = morpho("train", "cvae", *TRAIN, "--out", tmp_path / "r")
    lines = said.out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("cvae: "))
    assert " parameters (encoder " in lines[first] and lines[first + 1].startswith("digits at 8x8x1: ")
    assert said.out.count("reusing") <= 1
    assert f"# {lines[first]}" in morpho("train", "cvae", *TRAIN, "--dry-run").out
    said = morpho("resume", tmp_path / "r", "--images", 400)
    assert said.code == 0 and lines[first] in said.out


def test_what_is_known_before_the_data_are_read() -> None:
    told = condition_of_data(resolve("cvae", None, {"data": "fashion-mnist"}))
    assert told is not None and told.size == 10 and told.names[7] == "Sneaker"
    told = condition_of_data(resolve("cvae", None, {"data": "celeba", "condition": "attributes:Smiling,Male"}))
    assert told is not None and told.names == ("Smiling", "Male")
    assert condition_of_data(resolve("cvae", None, {"data": "celeba"})) is None
    assert condition_of_data(resolve("vae", None, {"data": "digits"})) is None


# What is typed after the run's folder, of which run, and words that the one line must hold.
ASKED = {
    "both": ("label", "--label 3 --attributes Smiling=1", "does not go with"),
    "no such class": ("label", "--label 12", "label = '12'", "from 0 to 9"),
    "below zero": ("label", "--label -1", "from 0 to 9"),
    "no such name": ("label", "--label Sneaker", "label = 'Sneaker'", "known: 0, 1"),
    "attributes of labels": ("label", "--attributes Smiling=1", "conditioned on labels"),
    "a label of attributes": ("attributes", "--label 3", "conditioned on attributes"),
    "no such attribute": ("attributes", "--attributes Smilling=1", "'Smilling'", "did you mean 'Smiling'"),
    "one that is not told": ("attributes", "--attributes Bald=1", "'Bald'", "Smiling, Male"),
    "no value": ("attributes", "--attributes Smiling", "attributes = 'Smiling'", "NAME=1"),
    "no number": ("attributes", "--attributes Smiling=yes", "Smiling=yes", "number"),
    "no finite number": ("attributes", "--attributes Smiling=nan", "number"),
    "no name": ("attributes", "--attributes =1", "NAME=1"),
    "nothing": ("attributes", "--attributes=", "attributes"),
    "twice": ("attributes", "--attributes Male=1,Male=0", "names Male twice"),
    "too many": ("label", "--n 65531", "n = 65540", "makes a sheet of"),
    "unconditional label": ("vae", "--label 3", "vae takes no condition", "cvae"),
    "unconditional attributes": ("dcgan", "--attributes Smiling=1", "dcgan takes no condition", "cgan"),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_cannot_be_drawn(
    morpho: Morpho, made: dict[str, Path], runs: dict[str, Path], tmp_path: Path, case: str
) -> None:
    name, line, *words = ASKED[case]
    check(morpho("sample", {**runs, **made}[name], *line.split(), "--out", tmp_path / "p.png"), *words)
    assert list(tmp_path.iterdir()) == []


TRAINED = {
    "attributes of what has none": ("--data digits --condition attributes:Smiling", "has no attributes"),
    "labels of what has none": ("--data folder:{p}", "has no labels", "--classes"),
    "no condition": ("--data digits --condition labels", "must be 'label' or 'attributes:NAME,NAME'"),
    "an empty one": ("--data digits --condition=", "condition"),
    "towers too high": ("--data digits --widths 8,8,8,8 --dry-run", "halved 3 times"),
}


@pytest.mark.parametrize("model", ["cvae", "cgan"])
@pytest.mark.parametrize("case", TRAINED)
def test_what_cannot_be_trained(morpho: Morpho, tmp_path: Path, model: str, case: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(draw_blobs(1, (9, 9, 3))[0]).save(photos / "a.png")
    line, *words = TRAINED[case]
    said = morpho("train", model, *line.format(p=photos).split(), "--size", 8, "--out", tmp_path / "r")
    check(said, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
