"""`morpho map`, `export` and `card` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from .conftest import Morpho


def test_map(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    said = morpho("map", runs["ae"], runs["vae"], "--out", out, "--images", 50, "--json").json
    assert said["n"] == [50, 50] and said["split"] == ["test", "test"] and said["by"] == ["codes", "codes"]
    picture = Image.open(out)
    assert json.loads(picture.text["morphospace"])["runs"] == [str(runs["ae"]), str(runs["vae"])]  # type: ignore[attr-defined]
    wide = picture.width
    said = morpho("map", runs["vae"], "--out", out, "--images", 50, "--show", "thumbnails", "--no-behind")
    assert said.code == 0 and "50 codes of the test split" in said.out and Image.open(out).width < wide


def test_map_refusals(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    for words, rule in (
        ([runs["dcgan"]], "dcgan has no encoder: use `morpho project`"),
        ([], "give the folders of 1 to 6 runs"),
        ([runs["vae"], "--images", 1], "at least 3"),
    ):
        said = morpho("map", *words, "--out", tmp_path / "m.png")
        assert said.code == 2 and rule in said.err and said.err.count("\n") == 1
    assert morpho("map", runs["vae"], "--out", tmp_path / "m.txt").code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "suffix"), [("torchscript", ".pt"), ("safetensors", ".safetensors")])
def test_export(morpho: Morpho, runs: dict[str, Path], tmp_path: Path, format: str, suffix: str) -> None:
    out = tmp_path / f"d{suffix}"
    said = morpho("export", runs["vae"], "--format", format, "--weights", "fp16", "--out", out, "--json").json
    assert said["files"] == [str(out)] and 0 < said["error"] < 0.02 and said["inputs"] == {"decoder": ["z"]}
    said = morpho("export", runs["vae"], "--format", format, "--what", "encoder", "--out", out)
    assert said.code == 0 and "images -> mean, log_variance" in said.out and "largest error" in said.out


def test_export_refusals(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    for words, rule in (
        (["--out", tmp_path / "d.pt"], "must be a file name that ends in .onnx for onnx"),
        (["--format", "torchscript", "--what", "encoder", "--out", tmp_path / "d.pt"], "dcgan has no encoder"),
        (["--format", "torchscript", "--out", "/proc/d.pt"], "cannot be written"),
    ):
        said = morpho("export", runs["dcgan"], *words)
        assert said.code == 2 and rule in said.err and said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_card(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    printed = morpho("card", runs["dcgan"])
    assert printed.code == 0 and printed.out.startswith("---\nlibrary_name: morphospace\n") and "# dcgan" in printed.out
    out = tmp_path / "card.md"
    assert morpho("card", runs["dcgan"], "--out", out, "--json").json["out"] == str(out)
    written = out.read_text()
    (picture,) = [line for line in written.splitlines() if "card-diagram.svg" in line]
    assert (tmp_path / "card-diagram.svg").is_file()
    assert written.replace(f"{picture}\n\n", "") == printed.out  # what is printed has no picture beside it
    assert morpho("card", runs["dcgan"], "--out", tmp_path / "card.txt").code == 2
