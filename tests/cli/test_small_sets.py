"""Twenty photographs of a person's own: the README's commands work, and say what so few images cannot tell."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import morphospace as ms
from tests.cli.conftest import Morpho

BRIEF = "--tower mlp --widths 8 --latent-dim 3 --device cpu"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name, twenty images of classes 1, 2 and 10, and room for runs."""
    folder = tmp_path_factory.mktemp("my place")
    rng = np.random.default_rng(0)
    for i in range(20):
        file = folder / "photos" / ("1", "2", "10")[i % 3] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        coarse.resize((20, 16), Image.Resampling.BICUBIC).save(file)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    how = {"latent_dim": 3, "tower": "mlp", "widths": (8,), "device": "cpu", "size": "16", "classes": True}
    return ms.train("cvae", f"folder:{place / 'photos'}", place / "my run", epochs=3, **how).path


def test_the_first_command_on_twenty_photographs(morpho: Morpho, place: Path) -> None:
    out = place / "first run"
    words = f"--size 16 --likelihood gaussian --epochs 2 {BRIEF} --dry-run"
    said = morpho("train", "vae", *words.split(), "--data", "digits")
    assert "batch 128, or 32 for fewer than 10,000 images" in said.out
    data = f"folder:{place / 'photos'}"
    said = morpho("train", "vae", *words.split()[:-1], "--data", data, "--out", out)
    assert said.code == 0 and "2 epochs, batch 19," in said.out
    suggested = [line for line in said.out.splitlines() if "morpho " in line]
    for line in suggested:  # pasted into a shell, they work
        verb, folder, *rest = shlex.split(line[line.index("morpho ") :])[1:]
        assert folder == str(out) and morpho(verb, folder, *rest).code == 0
    assert len(suggested) == 2


@pytest.mark.parametrize(
    "words",
    [
        "reconstruct {run} --n 16 --out {t}/a.png",
        "sample {run} --n 16 --label 10 --out {t}/a.png",
        "interpolate {run} --from 3 --to 8 --how all --steps 3 --out {t}/a.png",
        "traverse {run} --out {t}/a.png",
        "map {run} --out {t}/a.png",
        "morph {run} --seconds 0.2 --fps 10 --out {t}/a.gif",
        "evaluate {run} --n 64 --metrics mse,psnr --features pixels",
        "evaluate {run} --real-split train --metrics fd,pr --features pixels",
        "diagnose {run} --n 20",
    ],
)
def test_commands_work_with_one_image_held_out(words: str, morpho: Morpho, run: Path, tmp_path: Path) -> None:
    said = morpho(*(word.format(run=run, t=tmp_path) for word in words.split()))
    assert said.code == 0, said.err
    assert "raise n" not in said.out


def test_what_so_few_images_cannot_tell_is_said(morpho: Morpho, run: Path, tmp_path: Path) -> None:
    said = morpho("evaluate", run, "--features", "pixels")
    way_out = "hold out more when training, as --valid 0.2, or evaluate with --real-split train"
    assert f"1 real image says little; {way_out}" in said.out
    assert f"left out pr: it needs at least 4 images of each set, there are 1; {way_out}" in said.out
    said = morpho("reconstruct", run, "--n", 16, "--out", tmp_path / "a.png")
    assert "1 of the held-out split" in said.out and "a larger --valid holds out more" in said.out
    said = morpho("judge", run, "--out", tmp_path / "a.html")
    assert said.code == 2 and "hold out more when training" in said.err
    said = morpho("evaluate", run, "--n", 3, "--real-split", "train", "--metrics", "pr", "--features", "pixels")
    assert said.code == 2 and "there are 3; raise n" in said.err


def test_a_few_images_choose_no_checkpoint_and_it_is_said(
    morpho: Morpho, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "was chosen by 1 held-out image only (--checkpoint best takes it)"
    best, last = ((run / "checkpoints" / name).read_text().strip() for name in ("best", "last"))
    (run / "checkpoints" / "best").write_text(min(p.name for p in (run / "checkpoints").iterdir() if p.is_dir()))
    try:
        said = morpho("sample", run, "--n", 3, "--out", tmp_path / "a.png").out
        assert "takes the last checkpoint" in said and line in said and f"at {int(last):,} images" in said
        asked = ["--checkpoint", "best", "--out", tmp_path / "a.png"]
        assert line not in morpho("sample", run, "--n", 3, *asked).out
        (run / "checkpoints" / "best").write_text(last)
        assert line not in morpho("sample", run, "--n", 3, "--out", tmp_path / "a.png").out
    finally:
        (run / "checkpoints" / "best").write_text(best)


def test_a_number_that_is_no_name_is_refused(morpho: Morpho, run: Path, tmp_path: Path) -> None:
    said = morpho("sample", run, "--label", 0, "--out", tmp_path / "a.png")
    assert said.code == 2 and "label = '0': no such class; give one of 1, 2, 10" in said.err
    said = morpho("sample", run, "--n", 6, "--out", tmp_path / "a.png", "--json")
    assert said.json["rows"] == ["1", "2", "10"]
    assert Image.open(tmp_path / "a.png").width > 2 + 2 * 66  # the names are at the left


def test_two_sets_of_fewer_images_than_features(morpho: Morpho, place: Path) -> None:
    folder = place / "photos"
    words = f"--features pixels --metrics fd --size 16 --real folder:{folder}/1 --fake folder:{folder}/2"
    said = morpho("evaluate", *shlex.split(words.replace("my place", "'my place'")))
    (line,) = (line for line in said.out.splitlines() if "by chance" in line)
    assert "7 and 7 images are few for 768 features" in line


def test_a_set_of_one_or_two_images(morpho: Morpho, place: Path, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        for i in range(count):
            file = tmp_path / str(count) / f"{i}.png"
            file.parent.mkdir(exist_ok=True)
            Image.new("L", (8, 8), 40 * i).save(file)
        out, data = tmp_path / f"run{count}", f"folder:{tmp_path / str(count)}"
        said = morpho("train", "vae", *BRIEF.split(), "--epochs", 4, "--data", data, "--out", out)
        assert said.code == 0 and f"batch {count}," in said.out
        assert morpho("reconstruct", out, "--out", tmp_path / "a.png").code == 0
        said = morpho("evaluate", out, "--metrics", "fd", "--features", "pixels")
        assert said.code == (2 if count == 1 else 0)
        assert "there are 1; take more images" in said.err or count > 1
