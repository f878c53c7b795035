"""The faces that come with the package: small, checked, and laid out as a run that any tool takes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as read_tensors

import morphospace as ms
from morphospace.errors import RunError, SettingError
from morphospace.runs.configuration import resolve
from morphospace.studio import faces


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A stand-in of the recipe's model, hardly trained, in half precision."""
    folder = tmp_path_factory.mktemp("faces")
    changed = {"data": "toyfaces:600", "epochs": 0.2, "checkpoint_images": 10**6, "report_images": 10**6}
    run = ms.train(recipe=faces.RECIPE, out=folder / "run", device="cpu", **changed)
    facts = faces.pack_weights(run.path, folder / faces.FILE)
    data = (folder / faces.FILE).read_bytes()
    assert facts["bytes"] == len(data) <= faces.MOST_BYTES and facts["largest_error"] <= 2 / 255
    kept, given = read_tensors(data), run.model.networks.state_dict()
    assert set(kept) == set(given)
    for name, tensor in given.items():
        if tensor.is_floating_point():
            assert kept[name].dtype == torch.float16
            assert torch.equal(kept[name], tensor.half())
    return data


def test_a_run_of_another_recipe_is_not_packed(tiny: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"morpho train --recipe {faces.RECIPE}"):
        faces.pack_weights(tiny["vae"], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_weights_become_a_run_once(packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path))
    monkeypatch.setattr(faces, "DATA", "toyfaces:200:1")
    folder = faces.laid_out(packed)
    run = ms.load(folder)
    assert run.images > 0 and run.configuration.model == resolve(recipe=faces.RECIPE).model
    assert ms.sample(run, 2).shape == (2, *run.model.shape)
    assert ms.reconstruct(run, 2).originals.shape == (2, *run.model.shape)
    before = (folder / "run.toml").stat().st_mtime_ns
    assert faces.laid_out(packed) == folder and (folder / "run.toml").stat().st_mtime_ns == before
    (folder / "run.toml").unlink()  # half of a run, as nothing but a hand leaves it, is made again
    assert ms.load(faces.laid_out(packed)).images == run.images


def test_without_the_file_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "FILE", "missing.safetensors")
    with pytest.raises(RunError, match="make faces"):
        faces.embedded()


def test_the_package_brings_the_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = files("morphospace.studio").joinpath(faces.FILE)
    assert file.is_file(), "train the recipe and pack it: `make faces`"
    assert len(file.read_bytes()) <= faces.MOST_BYTES
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path))
    monkeypatch.setattr(faces, "DATA", "toyfaces:300:1")
    runs = faces.embedded()
    made = ms.reconstruct(runs.space("r0").run, 20)
    middle = made.originals.astype(float).mean(0) / 255
    blind = ((made.originals / 255 - middle) ** 2).mean()
    assert made.mse < blind / 3  # it has learned faces, not their mean
    assert np.std(ms.sample(runs.space("r0").run, 8).astype(float), axis=0).mean() > 10
