"""A model of masks shows its masks wherever it shows its images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.runs.codes import decode_masks
from morphospace.zoo.settings import VAESettings

SIDE, SCALE, PAD = 16, 4, 2
SMALL = ["--images", "64", "--batch-size", "16", "--widths", "4", "--latent-dim", "3", "--device", "cpu"]
DATA = ["--data", "toyfaces:20", "--size", str(SIDE), "--parts", "face"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    out = tmp_path_factory.mktemp("runs") / "masks"
    assert main(["train", "mask-vae", *DATA, *SMALL, "--outside", "1", "--out", str(out)]) == 0
    return ms.load(out)


def cell(picture: Path, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """The image and the mask in one cell of a picture of pairs, at their own size."""
    tall, wide = SIDE * SCALE + PAD, 2 * SIDE * SCALE + PAD
    pixels = np.asarray(Image.open(picture))[PAD + row * tall :, PAD + column * wide :][: tall - PAD, : wide - PAD]
    small = pixels[::SCALE, ::SCALE]
    return small[:, :SIDE], small[:, SIDE:]


def test_masks_are_those_of_the_samples(run: ms.Run, tmp_path: Path) -> None:
    masks, images = ms.sample_masks(run, 5, seed=2), ms.sample(run, 5, seed=2)
    assert masks is not None and masks.shape == (5, SIDE, SIDE, 1) and masks.dtype == np.uint8
    with torch.no_grad():
        chance = run.model.decode_mask(seeded_noise(5, 3, 2)).numpy()[:, 0]  # type: ignore[attr-defined]
    assert np.abs(masks[..., 0] - 255 * chance).max() <= 0.51 and masks.std() > 1
    few = ms.sample_masks(run, 2, seed=2, start=3)
    assert few is not None and np.abs(few.astype(int) - masks[3:]).max() <= 1
    out = tmp_path / "a.png"
    assert main(["sample", str(run.path), "--n", "5", "--seed", "2", "--out", str(out)]) == 0
    for i in range(5):
        image, mask = cell(out, i // 2, i % 2)
        assert (image == images[i]).all() and (mask == masks[i]).all()
    assert json.loads(Image.open(out).info["morphospace"])["pairs"] == "sample, mask"


def test_masks_are_those_of_the_reconstructions(run: ms.Run, tmp_path: Path) -> None:
    made, split = ms.reconstruct(run, 2), run.pack.split("test")
    assert made.masks is not None and split.masks is not None
    true, rebuilt = made.masks
    assert (true == split.masks * 255).all() and rebuilt.shape == true.shape
    inside = true[..., 0] > 0
    squares = (made.originals[inside] / 255 - made.images[inside] / 255) ** 2
    assert made.mse == pytest.approx(squares.mean())
    out = tmp_path / "a.png"
    assert main(["reconstruct", str(run.path), "--n", "2", "--out", str(out)]) == 0
    for i in range(2):
        for row, images, masks in ((0, made.originals, true), (1, made.images, rebuilt)):
            image, mask = cell(out, row, i)
            assert (image == images[i]).all() and (mask == masks[i]).all()


def test_a_run_keeps_pictures_with_masks(run: ms.Run) -> None:
    last = {kind: sorted((run.path / kind).glob("*.png"))[-1] for kind in ("samples", "reconstructions")}
    masks = ms.sample_masks(ms.load(run.path, checkpoint="last"), 1)
    assert masks is not None and np.abs(cell(last["samples"], 0, 0)[1].astype(int) - masks[0]).max() <= 2
    shown = cell(last["reconstructions"], 0, 0)[1]
    assert set(np.unique(shown)) == {0, 255}  # the true mask


def test_models_without_masks_show_none(tmp_path: Path) -> None:
    model = VAESettings(latent_dim=3, widths=(4,)).build((SIDE, SIDE, 3), None, None)
    assert decode_masks(model, torch.zeros(2, 3)) is None


def test_parts_by_keyword_are_networks_or_names(run: ms.Run, tmp_path: Path) -> None:
    """What the flag and the keyword `parts` share a name for."""
    with pytest.raises(SettingError, match=r"toyfaces has no 'fase' .did you mean 'face'"):
        ms.train("mask-vae", data="toyfaces:20", out=tmp_path / "a", parts=("fase",))
    with pytest.raises(SettingError, match="no such part to replace"):
        ms.train("mask-vae", data="toyfaces:20", out=tmp_path / "a", parts={"fase": torch.nn.Identity()}, size="16")
    assert run.configuration.data.parts == ("face",)
