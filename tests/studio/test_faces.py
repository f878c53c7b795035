"""The faces that come with the package: small, checked, and laid out as a run that any tool takes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.errors import RunError, SettingError
from morphospace.models.contract import seeded_noise
from morphospace.models.distributions import Point
from morphospace.models.priors import Normal
from morphospace.runs.configuration import resolve
from morphospace.studio import faces


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A stand-in of the recipe's model, hardly trained, rounded."""
    folder = tmp_path_factory.mktemp("faces")
    changed = {"data": "toyfaces:600", "epochs": 0.2, "checkpoint_images": 10**6, "report_images": 10**6}
    run = ms.train(recipe=faces.RECIPE, out=folder / "run", device="cpu", **changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faces, "LEAST_PSNR", 30.0)
        patch.setattr(faces, "SEEDS", 3)
        patch.setattr(faces, "AMONG", 12)
        facts = faces.pack_weights(run.path, folder / faces.FILE)
    data = (folder / faces.FILE).read_bytes()
    assert facts["bytes"] == len(data) <= faces.MOST_BYTES and facts["psnr_of_rounding"] >= 30
    return data


def test_weights_are_rounded_to_255_levels_a_row() -> None:
    tensors = {"a": torch.randn(3, 4, 2, 2), "b": torch.randn(5), "zero": torch.zeros(2, 3)}
    small = faces.rounded(tensors)
    assert small["a"].dtype == small["zero"].dtype == torch.int8 and torch.equal(small["b"], tensors["b"])
    again = faces.unrounded(small)
    assert set(again) == set(tensors) and torch.equal(again["zero"], tensors["zero"])
    row = tensors["a"].flatten(1).abs().amax(1) / 254
    assert ((again["a"] - tensors["a"]).flatten(1).abs().amax(1) <= row * 1.001).all()


def test_weights_that_rounding_spoils_are_not_packed(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path))
    monkeypatch.setattr(faces, "DATA", "toyfaces:200:1")
    monkeypatch.setattr(faces, "rounded", lambda tensors: {name: 0 * tensor for name, tensor in tensors.items()})
    with pytest.raises(RunError, match="decode to other images"):
        faces.pack_weights(faces.laid_out(packed), tmp_path / "x")
    assert not (tmp_path / "x").exists()


class Clear(torch.nn.Module):
    """Codes are pixels. Encoding blurs all but multiples of one half, so that images of such codes are clear."""

    latent_dim, prior = 4, Normal()

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z.view(-1, 1, 2, 2)

    def encode(self, images: torch.Tensor) -> Point:
        return Point(images.flatten(1) if len(images) == 0 else (2 * images.flatten(1)).round() / 2)


def test_chosen_seeds_are_clear_and_unlike_each_other() -> None:
    chosen = faces.choose_seeds(Clear(), count=4, among=80)
    codes = torch.cat([seeded_noise(1, 4, seed) for seed in range(80)])
    errors = ((2 * codes).round() / 2 - codes).square().mean(1)
    clear = errors.argsort()[:40]
    assert chosen[0] == int(clear[(codes[clear] - codes.mean(0)).norm(dim=1).argmax()]) and len(set(chosen)) == 4
    assert set(chosen) <= set(clear.tolist())
    far = torch.cdist(codes[chosen], codes[chosen])
    assert far[far > 0].min() > torch.cdist(codes, codes)[~torch.eye(80, dtype=bool)].median() / 2


def test_a_run_of_another_recipe_is_not_packed(tiny: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="make faces"):
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
    assert len(set(run.folder.facts["seeds"])) == 3
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
