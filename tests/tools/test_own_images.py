"""A run owns its images: it finds them whatever was moved, added or deleted since, or takes them anew."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import morphospace as ms
from morphospace.data.kept import find_pack
from morphospace.data.pack import in_memory_pack
from morphospace.data.prepare import prepare
from morphospace.data.settings import DataSettings
from morphospace.errors import RunError, SettingError
from morphospace.tools.train.train import Hooks
from tests.conftest import draw_blobs

SMALL = {"images": 32, "batch_size": 16, "widths": (8,), "latent_dim": 2, "tower": "mlp", "device": "cpu"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def photos(folder: Path, count: int = 40) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(draw_blobs(count, (8, 8, 1))):
        Image.fromarray(image[..., 0]).save(folder / f"{number:02}.png")
    return folder


def add_one(folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(folder / "zz.png")


def rebuilt(run: ms.Run | str | Path, **how: object) -> np.ndarray:
    return ms.reconstruct(ms.load(run, **how) if not isinstance(run, ms.Run) else run, 2).originals  # type: ignore[arg-type]


def test_from_another_folder_and_after_files_were_added_a_run_has_its_own_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = rebuilt(ms.train("vae", data="folder:../photos", out="run", **SMALL))
    run = tmp_path / "work" / "run"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert np.array_equal(rebuilt(run), before)
    add_one(tmp_path / "photos")
    told: list[str] = []
    assert np.array_equal(rebuilt(ms.resume(run, images=48, hooks=Hooks(say=told.append))), before)
    assert any("has changed since; the run goes on with" in line for line in told)
    new = ms.train("vae", data="folder:../photos", out="new", **SMALL)
    assert len(new.pack.split("train")) == 41 and len(ms.load(run).pack.split("train")) == 40
    scored = ms.score(ms.load(run), f"folder:{tmp_path / 'photos'}", by="reconstruction")
    assert len(scored.scores) == 41  # whoever names the folder means what is in it now
    shutil.rmtree(tmp_path / "photos")
    shutil.rmtree(elsewhere)  # and this process stands in it
    assert np.array_equal(rebuilt(run), before)


def test_no_page_that_one_shows_to_others_names_a_folder(tmp_path: Path) -> None:
    photos(tmp_path / "secret" / "photos")
    ms.train("vae", data="folder:secret/photos", out="run", **SMALL)
    report = Path("run/report.html").read_text()
    assert "folder:photos" in report and "secret" not in report
    ms.card("run", "card.md")
    assert "secret" not in Path("card.md").read_text()
    assert str(tmp_path / "secret" / "photos") in Path("run/run.toml").read_text()  # as the documentation says


def test_images_that_are_nowhere_are_asked_for_and_taken(tmp_path: Path, cache: Path) -> None:
    photos(tmp_path / "photos")
    before = rebuilt(ms.train("vae", data="folder:photos", out="run", **SMALL))
    shutil.rmtree(cache)
    assert np.array_equal(rebuilt("run"), before)  # packed again
    (tmp_path / "photos").rename(tmp_path / "renamed")
    Path("run").rename("moved")
    assert np.array_equal(rebuilt("moved"), before)
    shutil.rmtree(cache)
    where = f"folder:{tmp_path / 'photos'}"
    with pytest.raises(RunError, match=rf"data = '{where}': .*not any more.*--data.*ms.load\(run, data=...\)"):
        rebuilt("moved")
    assert np.array_equal(rebuilt("moved", data="folder:renamed"), before)
    assert np.array_equal(rebuilt("moved"), before)  # remembered
    shutil.rmtree(cache)
    assert ms.resume("moved", images=48, data="folder:renamed").images == 48
    shutil.rmtree(cache)
    assert np.array_equal(rebuilt("moved"), before)  # the run says the new place itself


def test_other_images_are_taken_with_a_word_and_of_another_shape_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    ms.train("vae", data="folder:photos", out="run", **SMALL)
    add_one(tmp_path / "photos")
    with pytest.warns(UserWarning, match="is not what the run was trained on"):
        assert len(ms.load("run", data="folder:photos").pack.split("train")) == 41
    with pytest.raises(SettingError, match="8x10x1, this run's 8x8x1"):
        ms.load("run", data=draw_blobs(20, (8, 10, 1)))
    with pytest.raises(RunError, match="hash differs"):
        ms.resume("run", images=48, data=draw_blobs(20, (8, 8, 1)))


def test_a_conditional_run_takes_images_of_its_own_classes_only(tmp_path: Path) -> None:
    images, labels = draw_blobs(40, (8, 8, 1)), np.arange(40) % 2
    ms.train("cvae", data=(images, labels), out="run", condition="label", **SMALL)
    with pytest.raises(SettingError, match="its labels are 0, 1, 2, this run's 0, 1"):
        ms.load("run", data=(images, np.arange(40) % 3))


def test_a_python_dataset_is_there_in_later_processes(tmp_path: Path) -> None:
    data = TensorDataset(torch.rand(40, 1, 8, 8), torch.randint(0, 3, (40,)))
    run = ms.train("vae", data=data, out="run", **SMALL)
    before = rebuilt(run)
    assert np.array_equal(rebuilt("run"), before)  # nothing of this process is asked
    assert ms.resume("run", images=48).images == 48
    with pytest.raises(RunError, match="hash differs"):  # the digits of the default
        ms.train("vae", data="digits", out="run", **SMALL)
    assert ms.score(run, "digits", by="reconstruction", n=4).scores.shape == (4,)


def test_a_python_dataset_that_is_too_large_to_keep_is_handed_over_again(tmp_path: Path, cache: Path) -> None:
    data = TensorDataset(torch.rand(40, 1, 8, 8))
    with pytest.warns(UserWarning, match="more than keep_data = 1e-06, and are not kept"):
        before = rebuilt(ms.train("vae", data=data, out="run", keep_data=1e-6, **SMALL))
    with pytest.raises(RunError, match=r"Python handed over.*--data"):
        rebuilt("run")
    with pytest.raises(RunError, match="Python handed over"):
        ms.resume("run", images=48)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(rebuilt("run", data=data), before)
        assert np.array_equal(ms.reconstruct("run", 2, data=data).originals, before)
    with pytest.raises(SettingError, match="keep_data"):
        ms.train("vae", data=data, out="other", keep_data=-1, **SMALL)


def test_a_pack_on_disk_is_known_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    photos(tmp_path / "photos")
    prepare(DataSettings(data="folder:photos"), out=tmp_path / "pack")
    before = rebuilt(ms.train("vae", data=ms.open_pack("pack"), out="run", **SMALL))
    assert ms.load("run").configuration.data.data == str(tmp_path / "pack")
    monkeypatch.chdir("/")
    shutil.rmtree(cache)
    assert np.array_equal(rebuilt(tmp_path / "run"), before)


def test_a_change_at_each_look_is_told_when_a_run_begins(tmp_path: Path) -> None:
    class Noise(TensorDataset):
        def __getitem__(self, row: int) -> torch.Tensor:  # type: ignore[override]
            return torch.rand(1, 8, 8)

    with pytest.warns(UserWarning, match="another image at each look"):
        ms.train("vae", data=Noise(torch.zeros(40)), out="run", **SMALL)


def test_a_run_that_was_refused_keeps_nothing(tmp_path: Path) -> None:
    pack = in_memory_pack("d", draw_blobs(40, (8, 8, 1)))
    with pytest.raises(SettingError):
        ms.train("vae", data=pack, out="run", **{**SMALL, "batch_size": 5000})
    assert find_pack(pack.hash) is None
