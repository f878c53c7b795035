"""`morpho pca`, `traverse` and `attribute`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from morphospace.tools.directions.attribute import load_direction
from morphospace.tools.directions.pca import load_components

from .conftest import Morpho


def test_pca(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    out, saved = tmp_path / "deep" / "pca.png", tmp_path / "c.safetensors"
    told = morpho("pca", runs["vae"], "--images", 200, "--grid", 4, "--save", saved, "--out", out, "--json").json
    assert told["n"] == 200 and told["units"] == "std" and told["latent_dim"] == 2 and len(told["explained"]) == 2
    assert sum(told["explained"]) == pytest.approx(1) and told["dims"] in (1, 2) and told["active_units"] in (0, 1, 2)
    for picture in (out, tmp_path / "deep" / "pca.variance.png"):
        assert json.loads(Image.open(picture).info["morphospace"])["space"] == "codes"
    assert load_components(saved).share.tolist() == told["explained"]
    said = morpho("pca", runs["vae"], "--as-published", "--images", 100, "--out", out)
    assert said.code == 0 and "of 2 components hold 90%" in said.out and "active units of 2" in said.out
    said = morpho("pca", runs["dcgan"], "--images", 100, "--grid", 2, "--out", out)
    assert said.code == 0 and "of the variance of the activations" in said.out and "active" not in said.out


def test_traverse(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "t.png"
    told = morpho("traverse", runs["vae"], "--image", 3, "--rows", 1, "--steps", 5, "--out", out, "--json").json
    assert told["start"] == "test image 3" and len(told["rows"]) == 1 and len(told["changes"]) == 2
    assert told["rows"][0]["change"] == max(told["changes"])
    assert json.loads(Image.open(out).info["morphospace"])["image"] == "3"
    said = morpho("traverse", runs["dcgan"], "--by", "components", "--space", "weights", "--out", out)
    assert said.code == 0 and "component 1" in said.out and "2 of 2 components from seed 0" in said.out


def test_attribute(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    out, saved = tmp_path / "a.png", tmp_path / "d.safetensors"
    how = ("--strength", "-2:2:5", "--image", "1,seed:4", "--orthogonal-to", "5, 8", "--save", saved)
    told = morpho("attribute", runs["ae"], "--name", "3", *how, "--out", out, "--json")
    assert told.code == 2 and "nothing of the direction is left" in told.json["error"]  # two others fill two dimensions
    how = ("--strength", "-2:2:5", "--image", "1,seed:4", "--orthogonal-to", "5", "--save", saved)
    told = morpho("attribute", runs["ae"], "--name", "3", *how, "--out", out, "--json").json
    assert told["image"] == ["test image 1", "seed 4"] and told["orthogonal_to"] == ["5"] and told["by"] == "means"
    assert told["held_out"]["n"] == 360 and 0 < told["held_out"]["auroc"] < 1
    assert load_direction(saved).name == "3"
    said = morpho("attribute", runs["ae"], "--name", "3", "--by", "classifier", "--out", out)
    assert said.code == 0 and "3 by classifier: with and without lie" in said.out and "AUROC" in said.out


def test_formula(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "f.png"
    told = morpho("attribute", runs["vae"], "--formula", "-(12 - 30) + 2*'3'", "--out", out, "--json").json
    assert len(told["code"]) == 2 and [one["name"] for one in told["directions"]] == ["3"]
    assert json.loads(Image.open(out).info["morphospace"])["formula"] == "-(12 - 30) + 2*'3'"
    assert morpho("attribute", runs["dcgan"], "--formula", "seed:1 - seed:2 + seed:3", "--out", out).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pca {vae} --out {t}/x.jpg", "must be a file name that ends in .png"),
        ("pca {vae} --out {t}/x.png --save {t}/x.pt", "ends in .safetensors"),
        ("pca {vae} --out {t}/x.png --grid 1", "grid = 1"),
        ("pca {vae} --out {t}/x.png --label 3 --attributes a=1", "does not go with attributes"),
        ("pca {dcgan} --out {t}/x.png --space codes", "take --space activations or weights"),
        ("traverse {vae} --out {t}/x.png --by pixels", "must be one of dims, components"),
        ("traverse {vae} --out {t}/x.png --image {t}/none.jpg", "no such file"),
        ("attribute {vae} --out {t}/x.png", "give --name"),
        ("attribute {vae} --out {t}/x.png --name 3 --formula 1+2", "does not go with --formula"),
        ("attribute {vae} --out {t}/x.png --name 3 --strength -3:3", "FIRST:LAST:COUNT"),
        ("attribute {vae} --out {t}/x.png --formula 1+", "ends too early"),
        ("attribute {vae} --out {t}/x.png --formula 1 --save {t}/x.safetensors", "does not go with --formula"),
        ("attribute {dcgan} --out {t}/x.png --name 3", "dcgan has no encoder"),
        ("attribute {vae} --out {t}/x.png --name 33", "no such attribute, class or factor"),
    ],
)
def test_refusals_leave_nothing(
    morpho: Morpho, runs: dict[str, Path], tmp_path: Path, words: str, message: str
) -> None:
    said = morpho(*words.format(t=tmp_path, **runs).split())
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_of_vectors_with_other_content_are_refused(tmp_path: Path) -> None:
    from morphospace.errors import RunError
    from morphospace.runs.checkpoints import save_vectors

    one = torch.ones(3)
    whole = {"mean": torch.ones(3), "directions": torch.ones(1, 3), "variance": torch.ones(3), "spread": torch.ones(3)}
    for tensors, facts in (
        ({**whole, "spreAd": one}, {"total": 1.0, "space": "codes"}),
        ({"mean": one}, {"total": 1.0, "space": "codes"}),
        (whole, {"space": "codes"}),
    ):
        save_vectors(tmp_path / "x.safetensors", "components", tensors, facts)
        with pytest.raises(RunError, match="save it again"):
            load_components(tmp_path / "x.safetensors")
    for facts in ({}, {"held": None, "orthogonal_to": [], "colour": 1}, {"held": {"odd": 1}, "orthogonal_to": []}):
        save_vectors(tmp_path / "y.safetensors", "direction", {"vector": one}, facts)
        with pytest.raises(RunError, match="facts are not those of a direction"):
            load_direction(tmp_path / "y.safetensors")
