"""A model chosen by the images: which, why, and that a run keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import SettingError
from morphospace.tools.train.choose import FEW, suited
from tests.tools.test_batch_size import small_pack


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures of several sizes."""
    folder, rng = tmp_path / "my photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(20):
        pixels = rng.integers(0, 256, (70 + number, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_folder_is_enough(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", f"folder:{photos}", "--images", "38", "--device", "cpu", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "20 images of 64x64: vae" in said.out + said.err
    run = ms.load(out)
    assert run.configuration.model.name == "vae" and run.model.shape == (64, 64, 3) and run.images == 38
    # More pictures by now: the run keeps its model and goes on.
    assert main([*words[:3], "--images", "76", "--out", str(out)]) == 0
    assert ms.load(out).images == 76


def test_a_dry_run_chooses_as_the_run_would_and_leaves_nothing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    assert main(["train", "--data", f"folder:{photos}", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "20 images of 64x64: vae" in said.out + said.err and 'name = "vae"' in said.out
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert main(["train", "--dry-run"]) == 2


def test_arrays_are_enough(tmp_path: Path) -> None:
    said: list[str] = []
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    hooks = ms.Hooks(say=said.append)
    run = ms.train(data=pixels, out=tmp_path / "run", images=28, hooks=hooks)
    assert run.configuration.model.name == "vae" and any("30 images of 16x16: vae" in line for line in said)
    longer = ms.train(data=pixels, out=tmp_path / "run", images=56, hooks=hooks)
    assert longer.images == 56


def test_settings_win_and_wrong_ones_are_refused(photos: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = ms.train(data=f"folder:{photos}", out=tmp_path / "run", size="16", images=40, hooks=ms.Hooks(say=said.append))
    assert run.model.shape == (16, 16, 3) and any("20 images of 16x16: vae" in line for line in said)
    with pytest.raises(SettingError, match="model: none given"):
        ms.train(out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_length_in_epochs_wins_over_the_chosen_one(photos: Path, tmp_path: Path) -> None:
    run = ms.train(data=f"folder:{photos}", out=tmp_path / "run", size="16", epochs=2)
    assert run.images == 38 and run.configuration.training.images is None


def test_many_images_are_for_a_gan() -> None:
    pack = small_pack(20)
    assert suited(FEW - 1, pack, {}).model == "vae" and suited(FEW, pack, {}).model == "dcgan"
    assert suited(FEW, pack, {"size": "64"}).settings["size"] == "64"
