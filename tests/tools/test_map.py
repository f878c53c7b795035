"""Maps of codes through the Python API."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import MissingExtra, RunError, SettingError
from morphospace.pictures.maps import GRID
from morphospace.runs.codes import codes_of
from morphospace.tools.map.layout import framed
from tests.conftest import draw_blobs

SMALL = {"images": 256, "batch_size": 64, "widths": (16,), "tower": "mlp", "device": "cpu", "report_images": 10**6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    kinds = {"vae": ("vae", 5), "plane": ("ae", 2), "line": ("ae", 1), "cvae": ("cvae", 3), "dcgan": ("dcgan", 3)}
    return {
        name: ms.train(model, data="digits", latent_dim=dim, out=folder / name, **SMALL)
        for name, (model, dim) in kinds.items()
    }


def test_the_map_is_the_plane_of_the_two_leading_components_of_means(runs: dict[str, ms.Run]) -> None:
    run = runs["vae"]
    made = ms.latent_map(run, 10_000)
    split = run.pack.split("test")
    assert made.split == "test" and np.array_equal(made.images, split.images) and made.by == "pca"
    assert np.array_equal(made.classes, split.labels) and made.class_names == run.pack.label_names
    codes = codes_of(run, np.asarray(split.images)).numpy().astype(np.float64)
    pca = PCA(2, svd_solver="full").fit(codes)
    for ours, theirs in zip(made.points.T, pca.transform(codes).T):
        assert min(np.abs(ours - theirs).max(), np.abs(ours + theirs).max()) < 1e-4  # an axis has no sign
    assert np.allclose(made.share, pca.explained_variance_ratio_, atol=1e-6)
    origin = pca.transform(np.zeros((1, 5)))[0]
    assert np.allclose(np.abs(made.prior), np.abs(origin), atol=1e-4)


def test_the_plane_behind_decodes_to_what_lies_there(runs: dict[str, ms.Run]) -> None:
    made = ms.latent_map(runs["plane"].path, 50)
    assert made.by == "codes" and made.prior is None and made.share is None and len(made.points) == 50
    left, bottom, right, top = made.corners
    row, column = 3, 11
    step_x, step_y = (right - left) / GRID, (top - bottom) / GRID
    at = torch.tensor([[left + (column + 0.5) * step_x, top - (row + 0.5) * step_y]]).float()
    from morphospace.runs.codes import decode

    image = made.grid[row * GRID + column].astype(int)
    assert np.abs(image - decode(runs["plane"].model, at)[0]).max() <= 1
    assert ms.latent_map(runs["plane"], 50, behind=False).grid is None
    assert ms.latent_map(runs["cvae"], 50).grid is None  # another image for each class


def test_two_runs_show_the_same_images_and_a_seed_others(runs: dict[str, ms.Run]) -> None:
    first, second = (ms.latent_map(runs[name], 40, seed=1) for name in ("vae", "plane"))
    assert np.array_equal(first.images, second.images)
    assert not np.array_equal(first.images, ms.latent_map(runs["vae"], 40, seed=2).images)
    assert np.array_equal(first.points, ms.latent_map(runs["vae"].path, 40, seed=1).points)


def test_the_frame_is_a_square_around_all_but_the_farthest() -> None:
    points = np.random.default_rng(0).uniform(size=(1000, 2)) * (2, 1)
    points[0] = 1e6
    left, bottom, right, top = framed(points)
    assert right - left == pytest.approx(top - bottom) and 2 < right - left < 2.3
    assert framed(np.zeros((5, 2)))[2] > 0  # codes that are all the same have a frame, too


def test_refusals(runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="dcgan has no encoder: use `morpho project`"):
        ms.latent_map(runs["dcgan"])
    with pytest.raises(RunError, match="lie on a line"):
        ms.latent_map(runs["line"])
    with pytest.raises(SettingError, match="by = 'tsne': must be one of pca, umap"):
        ms.latent_map(runs["vae"], by="tsne")
    with pytest.raises(SettingError, match="images = 2: must be at least 3"):
        ms.latent_map(runs["vae"], 2)
    with pytest.raises(SettingError, match="attribute = 'Smiling': digits has no attributes"):
        ms.latent_map(runs["vae"], attribute="Smiling")
    monkeypatch.setattr("morphospace.tools.map.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs umap-learn; pip install 'morphospace\[map\]'"):
        ms.latent_map(runs["vae"], by="umap")


def test_attributes_tell_images_apart(tmp_path: Path) -> None:
    attributes = np.arange(128).reshape(64, 2) // 2 % 2
    split = Split(draw_blobs(64, (8, 8, 1)), attributes=attributes.astype(np.uint8))
    pack = in_memory_pack("blobs", split, attribute_names=("Smiling", "Eyeglasses"))
    run = ms.train(
        "vae",
        data=pack,
        latent_dim=2,
        out=tmp_path / "blobs",
        **{**SMALL, "images": 64, "batch_size": 32, "valid": 0.0},
    )
    run.__dict__["pack"] = pack  # data given as a Python object are handed over again
    assert ms.latent_map(run).classes is None
    made = ms.latent_map(run, attribute="Eyeglasses")
    assert made.class_names == ("not Eyeglasses", "Eyeglasses") and set(made.classes) == {0, 1}
    with pytest.raises(SettingError, match="did you mean 'Eyeglasses'"):
        ms.latent_map(run, attribute="eyeglass")


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="needs the extra map")
@pytest.mark.slow
def test_umap_is_repeatable_and_has_no_plane_behind(runs: dict[str, ms.Run]) -> None:
    made = ms.latent_map(runs["vae"], 30, by="umap")
    assert made.by == "umap" and made.grid is None and made.points.shape == (30, 2)
    assert np.array_equal(made.points, ms.latent_map(runs["vae"], 30, by="umap").points)
