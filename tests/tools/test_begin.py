"""Beginning from an earlier run: what differs is said in words, and may begin anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.errors import RunError, SettingError
from morphospace.tools.train.train import Hooks
from tests.conftest import draw_blobs

SMALL = {"images": 32, "batch_size": 16, "widths": (8,), "latent_dim": 4, "tower": "mlp", "device": "cpu"}
IMAGES = draw_blobs(40, (8, 8, 1))


def labelled(classes: int) -> tuple[np.ndarray, np.ndarray]:
    return IMAGES, np.arange(40) % classes


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("earlier")
    ms.train("vae", data=IMAGES, out=folder / "vae", **SMALL)
    ms.train("cvae", data=labelled(4), condition="label", out=folder / "cvae", **SMALL)
    return {name: folder / name for name in ("vae", "cvae")}


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        (draw_blobs(40, (16, 8, 1)), {}, r"\(size of the images: there 8x8, here 16x8\); give --size 8x8, or let"),
        (np.repeat(IMAGES, 3, axis=3), {}, r"\(channels: there 1, here 3\); give --channels 1, or"),
        (IMAGES, {"latent_dim": 6}, r"\(latent_dim: there 4, here 6\); give --latent-dim 4, or"),
        (
            IMAGES,
            {"widths": (8, 4), "beta": 2.0, "likelihood": "gaussian", "sigma": 0.1},
            r"\(widths: there 8, here 8,4\); give --widths 8, or",
        ),
    ],
)
def test_what_differs_is_said_in_words(
    earlier: dict[str, Path], tmp_path: Path, images: np.ndarray, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        ms.train("vae", data=images, out=tmp_path / "r", start_from=earlier["vae"], **{**SMALL, **changes})
    assert not (tmp_path / "r").exists()


def test_other_classes_and_models(earlier: dict[str, Path], tmp_path: Path) -> None:
    how = {"out": tmp_path / "r", "start_from": earlier["cvae"], **SMALL}
    message = r"\(classes: there 4 \(0, 1, 2, 3\), here 2 \(0, 1\)\); give images with the same classes, or let"
    with pytest.raises(RunError, match=message):
        ms.train("cvae", data=labelled(2), condition="label", **how)
    with pytest.raises(RunError, match=r"\(model: there cvae, here vae\); begin from a run of this kind"):
        ms.train("vae", data=IMAGES, **how)
    with pytest.raises(SettingError, match="new_layers"):
        ms.train("vae", data=IMAGES, out=tmp_path / "r", new_layers=True, **SMALL)


def test_layers_that_differ_begin_anew_when_asked(earlier: dict[str, Path], tmp_path: Path) -> None:
    told: list[str] = []
    how = {**SMALL, "lr": 1e-9, "hooks": Hooks(say=told.append), "start_from": earlier["vae"]}
    run = ms.train("vae", data=IMAGES, out=tmp_path / "r", new_layers=True, **{**how, "latent_dim": 6})
    before = ms.load(earlier["vae"]).model.networks.state_dict()
    now = run.model.networks.state_dict()
    same = [name for name in now if now[name].shape == before[name].shape]
    assert 0 < len(same) < len(now)
    assert all(torch.allclose(now[name], before[name], atol=1e-5) for name in same)
    (line,) = [line for line in told if "begin anew" in line]
    assert all(name.rpartition(".")[0] in line for name in now if name not in same)
    assert run.folder.facts["new_layers"] is True  # so that a run killed at once begins the same way
    with pytest.raises(RunError, match="no layer fits"):
        ms.train(
            "dcgan",
            data=draw_blobs(40, (16, 16, 1)),
            out=tmp_path / "g",
            new_layers=True,
            images=32,
            batch_size=16,
            start_from=earlier["vae"],
            widths=(8,),
            device="cpu",
        )


def test_conditions_of_other_names_are_said(earlier: dict[str, Path], tmp_path: Path) -> None:
    class Named(list):  # type: ignore[type-arg]
        classes = ("a", "b", "c", "d")

    told: list[str] = []
    data = Named(zip(*labelled(4)))
    how = {**SMALL, "hooks": Hooks(say=told.append), "start_from": earlier["cvae"]}
    ms.train("cvae", data=data, condition="label", out=tmp_path / "r", **how)
    assert any("its conditions were 0, 1, 2, 3, here a, b, c, d" in line for line in told)
