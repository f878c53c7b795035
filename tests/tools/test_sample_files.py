"""Samples as files: the images of the sheet, each with its number and class, in flat memory; and truncation."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.cli import main
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.errors import SettingError
from morphospace.models.contract import seeded_noise
from morphospace.models.priors import fit_prior
from morphospace.runs.codes import decode, prior_for
from morphospace.tools import sampling
from morphospace.tools.sample_files import file_name

NAMES = ("1", "10", "2", "a/b: c")
BRIEF: dict[str, Any] = {
    "latent_dim": 2, "device": "cpu", "tower": "mlp", "widths": (8,), "images": 48, "report_images": 10**6,
    "checkpoint_images": 10**6,
}  # fmt: skip


def pack(names: tuple[str, ...] = NAMES) -> Pack:
    images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 1), dtype=np.uint8)
    return in_memory_pack("few", Split(images, labels=np.arange(48) % len(names)), label_names=names)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    made = {model: ms.train(model, pack(), out=folder / model, **BRIEF) for model in ("vae", "cvae")}
    return made | {"ae": ms.train("ae", "digits", out=folder / "ae", **BRIEF)}


def images_in(files: dict[str, bytes]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(files[name]))) for name in sorted(files)])[..., None]


def contents(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_files_hold_the_images_of_the_sheet(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    drawn = ms.sample(runs["vae"], 11, seed=3)
    for out in (tmp_path / "folder", tmp_path / "all.zip"):
        made = ms.save_samples(runs["vae"], out, n=11, seed=3)
        files = contents(out)
        assert made.n == 11 and sorted(files) == [f"{i:05}.png" for i in range(11)]
        assert np.array_equal(images_in(files), drawn)
        with Image.open(io.BytesIO(files["00007.png"])) as image:
            about = json.loads(image.info["morphospace"])
        assert (about["number"], about["seed"], about["n"]) == (7, 3, 11)
    ms.save_samples(runs["vae"], tmp_path / "all.npz", n=11, seed=3)
    with np.load(tmp_path / "all.npz") as arrays:
        assert list(arrays) == ["arr_0"] and arrays["arr_0"].dtype == np.uint8
        assert np.array_equal(arrays["arr_0"], drawn)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.npz", "all.zip", "folder"]


def test_classes_are_in_the_names_and_in_the_order_of_the_sheet(
    runs: dict[str, ms.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "BLOCK", 3)  # rows of the sheet and blocks do not begin together
    ms.save_samples(runs["cvae"], tmp_path / "each", n=7)
    names = ["1", "1", "2", "2", "10", "10", "a_b_ c", "a_b_ c"]
    assert sorted(contents(tmp_path / "each")) == [f"{i:05}-{name}.png" for i, name in enumerate(names)]
    grid = ms.sample_grid(runs["cvae"], 2)
    assert grid.rows == ("1", "2", "10", "a/b: c")
    assert np.abs(images_in(contents(tmp_path / "each")).astype(int) - grid.images).max() <= 1
    ms.save_samples(runs["cvae"], tmp_path / "each.npz", n=7)
    with np.load(tmp_path / "each.npz") as arrays:
        assert arrays["labels"].tolist() == [0, 0, 2, 2, 1, 1, 3, 3] and tuple(arrays["label_names"]) == NAMES
    ms.save_samples(runs["cvae"], tmp_path / "one", n=2, label="a/b: c")
    assert sorted(contents(tmp_path / "one")) == ["00000-a_b_ c.png", "00001-a_b_ c.png"]


def test_the_array_is_a_source_of_data_too(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    ms.save_samples(runs["cvae"], tmp_path / "all.npz", n=40)
    found = ms.evaluate(real=pack(), fake=f"npz:{tmp_path / 'all.npz'}", features="pixels", metrics=["kid"])
    assert found.results[0].conditions["n_fake"] == 40


@pytest.mark.parametrize("name", ["a/b", "..", "con: *?", "\x00", "猫" * 200, "", "bad\udce9", "trailing. "])
def test_any_class_can_be_part_of_a_files_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"00000-{file_name(name)}.png"
    path.write_bytes(b"")
    assert path.parent == tmp_path and [file.name for file in tmp_path.iterdir()] == [path.name]


def refused(runs: dict[str, ms.Run], out: str, *more: str, model: str = "vae") -> int:
    return main(["sample", str(runs[model].path), "--out", out, *more])


def test_nothing_there_is_written_over_or_left_half(
    runs: dict[str, ms.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(SettingError, match="is there already and is not empty"):
        ms.save_samples(runs["vae"], full)
    cases = {
        f"{full}/": "is not empty",
        str(tmp_path / "none"): "or a folder, DIR/",
        str(tmp_path / "o_%03d.png"): "%03d stands for no number; give a folder, DIR/",
        str(tmp_path / "a.jpg"): "ends in .png, .npz or .zip",
    }
    for out, words in cases.items():
        assert refused(runs, out) == 2 and words in capsys.readouterr().err
    for out in (tmp_path / "new", tmp_path / "a.zip", tmp_path / "a.npz"):
        left = [4, 4]
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "BLOCK", 4)
            decode = sampling.decode
            patch.setattr(sampling, "decode", lambda *how, d=decode, left=left: (left.pop(), d(*how))[1])
            with pytest.raises(IndexError):
                ms.save_samples(runs["vae"], out, n=12)
    assert [path.name for path in tmp_path.iterdir()] == ["full"] and len(list(full.iterdir())) == 1


def test_the_verb_writes_into_a_folder_that_is_new_or_empty(
    runs: dict[str, ms.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", f"{tmp_path}/new/deep/"):
        assert main(["sample", str(runs["ae"].path), "--n", "3", "--out", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n"] == 3
        assert len(contents(Path(out))) == 3


def test_a_sheet_that_nobody_could_open_is_refused_with_the_way_out(
    runs: dict[str, ms.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, n in (("vae", 6000), ("cvae", 1200)):
        assert refused(runs, str(tmp_path / "a.png"), "--n", str(n), model=model) == 2
        said = capsys.readouterr().err
        assert "makes a sheet of" in said and "--out DIR/, FILE.npz or FILE.zip" in said
    assert not list(tmp_path.iterdir())


def test_a_file_for_each_image_is_not_put_into_one_picture(runs: dict[str, ms.Run], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"a\.png.*give a folder, a \.zip or a \.npz"):
        ms.save_samples(next(iter(runs.values())), tmp_path / "a.png", n=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prior", ["model", "normal", "gaussian", "mixture"])
def test_truncation_moves_codes_towards_their_mean(prior: str, runs: dict[str, ms.Run]) -> None:
    run, noise = runs["ae"], seeded_noise(20, 2, 0)
    whole, less, none = (prior_for(run, prior).from_noise(noise, t) for t in (1.0, 0.4, 0.0))
    assert torch.allclose(less - none, 0.4 * (whole - none), atol=1e-4)
    for truncation, codes in ((1.0, whole), (0.4, less)):
        assert np.array_equal(ms.sample(run, 20, prior=prior, truncation=truncation), decode(run.model, codes))
    assert np.array_equal(ms.sample(run, 20, prior=prior), decode(run.model, whole))


def test_a_mixtures_codes_stay_with_their_component() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.cat([torch.randn(200, 2, generator=generator) * 0.1 + at for at in (-5, 5)])
    prior, noise = fit_prior("mixture", codes), seeded_noise(400, 2, 0)
    whole, less, none = (prior.from_noise(noise, t) for t in (1.0, 0.5, 0.0))
    assert torch.equal(prior.from_noise(noise), whole)
    assert torch.allclose(less, (whole + none) / 2, atol=1e-5)
    assert len(none.unique(dim=0)) <= len(prior.weights) and ((none[:, 0] > 0) == (whole[:, 0] > 0)).all()


def test_truncation_has_a_range_and_is_recorded(
    runs: dict[str, ms.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingError, match="truncation = 3: must be from 0 to 2"):
        ms.sample(runs["vae"], 2, truncation=3)
    out = tmp_path / "a.png"
    assert main(["sample", str(runs["vae"].path), "--n", "2", "--truncation", "0.5", "--out", str(out)]) == 0
    with Image.open(out) as image:
        assert json.loads(image.info["morphospace"])["truncation"] == 0.5
