"""`morpho project`, `train-encoder` and `score`, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Morpho

SIDE = 66


def test_project(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    picture, code = tmp_path / "p.png", tmp_path / "code.json"
    words = ("--refine", 3, "--starts", 2, "--seed", 1, "--out", picture, "--code", code)
    told = morpho("project", runs["dcgan"], 0, "train:3", *words, "--json").json
    assert told["how"] == "3 steps from 2 starts" and told["pictures"] == ["test image 0", "train image 3"]
    assert len(told["mse"]) == len(told["psnr"]) == 2 and all(0 < error < 1 for error in told["mse"])
    kept = json.loads(code.read_text())
    assert np.asarray(kept["codes"]).shape == (2, 2) and kept["mse"] == told["mse"]
    sheet = Image.open(picture)
    assert sheet.size == (2 + 2 * SIDE, 2 + 2 * SIDE)  # a row of originals over one of projections
    assert json.loads(sheet.info["morphospace"])["order"] == "original, projection"
    again = morpho("project", runs["dcgan"], 0, "train:3", *words, "--json").json
    assert again == told


def test_one_picture_lies_beside_its_projection(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    photo, picture = tmp_path / "photo.png", tmp_path / "p.png"
    Image.fromarray(np.full((30, 20, 3), 255, np.uint8)).save(photo)
    said = morpho("project", runs["vae"], photo, "--out", picture)
    assert said.code == 0 and said.out.splitlines()[0].split() == ["picture", "mse", "psnr", "dB"]
    assert said.out.splitlines()[2] == f"by encoder, the original on the left: {picture}"
    sheet = np.asarray(Image.open(picture))
    assert sheet.shape == (2 + SIDE, 2 + 2 * SIDE) and (sheet[2:66, 2:66] == 255).all() and sheet[2:66, 68:].min() < 255
    many = morpho("project", runs["vae"], *range(11), "--out", picture)
    assert many.code == 0 and np.asarray(Image.open(picture)).shape == (2 + 4 * SIDE, 2 + 8 * SIDE)


def test_train_encoder_then_reconstruct(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs["dcgan"], tmp_path / "run")
    said = morpho("train-encoder", run, "--images", 128, "--real")
    assert said.code == 0 and "cosine of codes" in said.out and "128/128 images  100%" in said.out
    assert morpho("reconstruct", run, "--n", 2, "--out", tmp_path / "r.png").code == 0
    told = morpho("train-encoder", run, "--images", 64, "--json").json
    assert told["images"] == 64 and Path(told["encoder"]).is_file() and told["real"] is False
    assert morpho("project", run, 0, "--out", tmp_path / "p.png", "--json").json["how"] == "encoder"


def test_score(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    table, gallery = tmp_path / "s.csv", tmp_path / "g.png"
    words = ("--out", table, "--gallery", gallery, "--n", 80)
    told = morpho("score", runs["vae"], "digits", "--strange", "4,9", *words, "--json").json
    assert told["n"] == 80 and 0 <= told["auroc"]["low"] <= told["auroc"]["value"] <= told["auroc"]["high"] <= 1
    assert table.read_text().startswith("index,label,score,strange\n0,")
    assert Image.open(gallery).size == (2 + 8 * SIDE, 2 + 9 * SIDE)  # 32 strangest, a white row, 32 most usual
    said = morpho("score", runs["dcgan"], "digits", "--by", "critic", "--n", 5, "--out", table)
    assert said.code == 0 and "5 of digits (test) by critic" in said.out and "AUROC" not in said.out
    said = morpho("score", runs["vae"], "toyfaces", "--against-own", "--n", 20, "--correct", "complexity", *words[:2])
    assert said.code == 0 and "20 strange of 40" in said.out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("project", "vae", "--out", "p.png"), ("pictures",)),
        (("project", "vae", "0", "--out", "p.jpg"), (".png",)),
        (("project", "vae", "0", "--out", "p.png", "--code", "c.txt"), ("code", ".json")),
        (("project", "vae", "999", "--out", "p.png"), ("image = 999", "0 to 359")),
        (("project", "vae", "0", "--label", "3", "--out", "p.png"), ("label", "takes no condition")),
        (("project", "vae", "none.jpg", "--out", "p.png"), ("none.jpg", "no such file")),
        (("train-encoder", "vae"), ("an encoder of its own",)),
        (("train-encoder", "dcgan", "--images", "3"), ("images = 3",)),
        (("train-encoder", "dcgan", "--minutes", "-1"), ("minutes",)),
        (("score", "vae", "digits", "--out", "s.txt"), ("out", ".csv")),
        (("score", "vae", "digits", "--out", "s.csv", "--gallery", "g.jpg"), (".png",)),
        (("score", "dcgan", "digits", "--out", "s.csv"), ("by = 'elbo'", "reconstruction, latent or critic")),
        (("score", "dcgan", "digits", "--by", "latent", "--out", "s.csv"), ("train-encoder",)),
        (("score", "vae", "digits", "--strange", ",", "--out", "s.csv"), ("strange",)),
        (("score", "vae", "nothing", "--out", "s.csv"), ("nothing",)),
    ],
)
def test_refusals_leave_nothing(
    morpho: Morpho,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = morpho(words[0], runs[words[1]], *words[2:])
    assert said.code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert all(part in said.err for part in parts), said.err
    assert list(tmp_path.iterdir()) == []
