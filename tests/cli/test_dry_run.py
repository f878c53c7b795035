"""What a dry run accepts, the run accepts; what the run refuses before it begins, a dry run refuses alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Morpho


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of images of one size, one of two sizes, and one of no images."""
    rng = np.random.default_rng(0)
    for name, sides in {"one": (16, 16, 16), "two": (16, 24)}.items():
        (tmp_path / name).mkdir()
        for i, side in enumerate(sides):
            Image.fromarray(rng.integers(0, 256, (side, side, 3)).astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "none").mkdir()
    np.save(tmp_path / "wide.npy", rng.integers(0, 4096, (8, 16, 16)))
    return tmp_path


SMALL = "--widths 4 --latent-dim 2 --images 2"
REFUSED = {
    "a background for digits": "vae --data digits --background white",
    "a range for digits": "vae --data digits --range auto",
    "classes for an array": "vae --data npy:{t}/wide.npy --classes --range auto",
    "parts of a folder": "vae --data folder:{t}/one --parts hair",
    "no folder": "vae --data folder:{t}/missing",
    "no image": "vae --data folder:{t}/none",
    "two sizes": "vae --data folder:{t}/two",
    "no range of its own": "vae --data npy:{t}/wide.npy",
    "no colour": "vae --data folder:{t}/one --background blue-ish",
    "batch over data": "vae --data folder:{t}/one --batch-size 50",
    "towers too high for the folder's own size": "vae --data folder:{t}/one --widths 4,4,4,4,4",
    "no masks": "mask-vae --data folder:{t}/one",
    "no class": "cvae --data folder:{t}/one",
    "no such attribute": "cvae --data digits --condition attributes:smiling",
    "a word after digits": "vae --data digits:3",
    "nothing held out": "vae --data digits --valid 0 --patience 1",
    "packing": "dcgan --data digits --packing 3 --batch-size 32",
    "collapse of an autoencoder": "ae --data digits --stop-on-collapse 0.1",
}


@pytest.mark.parametrize("name", REFUSED)
def test_train_refuses_alike(morpho: Morpho, place: Path, name: str) -> None:
    words = ["train", *REFUSED[name].format(t=place).split()]
    dry, run = morpho(*words, "--dry-run"), morpho(*words, "--out", place / "run")
    assert dry.code == run.code == 2 and dry.out == ""
    assert dry.err == run.err and not (place / "run").exists()


@pytest.mark.parametrize("name", ["a background for digits", "two sizes", "batch over data", "no class"])
def test_a_sweep_refuses_alike_and_leaves_nothing(morpho: Morpho, place: Path, name: str) -> None:
    words = ["sweep", *REFUSED[name].format(t=place).split(), "--grid", "latent-dim=2,3", "--out", place / "sweep"]
    dry, run = morpho(*words, "--dry-run"), morpho(*words)
    assert dry.code == run.code == 2 and dry.err == run.err
    assert not (place / "sweep").exists()


def test_a_sweep_says_which_of_its_runs_cannot_be_trained(morpho: Morpho, place: Path) -> None:
    words = ["sweep", "vae", "--data", f"folder:{place / 'one'}", "--widths", "4", "--grid", "batch-size=2,50"]
    said = morpho(*words, "--out", place / "sweep", "--dry-run", "--json").json
    assert len(said["runs"]) == 2 and list(said["refused"]) == ["batch_size=50"]
    assert "only 3 images" in next(iter(said["refused"].values()))


ACCEPTED = [
    "vae --data folder:{t}/one --background white --batch-size 2 --resize nearest --size 8",
    "vae --data folder:{t}/two --size 16 --range 0:200 --batch-size 1",
    "vae --data npy:{t}/wide.npy --range auto --batch-size 4 --max-pixels 1000000",
]


@pytest.mark.parametrize("words", ACCEPTED)
def test_what_a_dry_run_accepts_the_run_accepts(morpho: Morpho, place: Path, words: str) -> None:
    before = sorted(place.rglob("*"))
    given = ["train", *words.format(t=place).split(), *SMALL.split()]
    dry = morpho(*given, "--dry-run")
    assert dry.code == 0 and "parameters" in dry.out and sorted(place.rglob("*")) == before
    assert morpho(*given, "--out", place / "run").code == 0
    assert morpho(*given, "--out", place / "run", "--dry-run").code == 0


def test_files_that_are_not_here_are_not_asked_for(morpho: Morpho, tmp_path: Path) -> None:
    said = morpho("train", "vae", "--data", "celeba", "--root", tmp_path, "--dry-run")
    assert said.code == 0 and "not all here yet" in said.out
