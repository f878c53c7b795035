"""The batch size when none is given, and batches too small for batch norm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import morphospace as ms
from morphospace.cli import main
from morphospace.data.pack import Pack, Split, in_memory_pack
from morphospace.errors import RunError, SettingError
from morphospace.runs.configuration import resolve
from morphospace.tools.train.batch_size import with_batch_size

BRIEF: dict[str, Any] = {"latent_dim": 2, "device": "cpu", "report_images": 10**6, "checkpoint_images": 10**6}
MLP = {**BRIEF, "tower": "mlp", "widths": (4,)}


def small_pack(count: int, side: int = 16) -> Pack:
    images = np.random.default_rng(count).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    return in_memory_pack("few", Split(images, labels=np.arange(count) % 2), label_names=("a", "b"))


@pytest.mark.parametrize(
    ("images", "processes", "settings", "size"),
    [
        (60_000, 1, {}, 32),
        (32, 1, {}, 32),
        (20, 1, {}, 20),
        (1, 1, {}, 1),
        (26, 4, {}, 24),
        (60_000, 3, {}, 30),
        (38, 2, {"packing": 4}, 32),
        (3, 1, {"packing": 4}, 4),
        (38, 1, {"batch_size": 64}, 64),
    ],
)
def test_the_batch_size_when_none_is_given(images: int, processes: int, settings: dict[str, Any], size: int) -> None:
    asked = {"device": "cpu", **settings}
    assert with_batch_size(resolve("dcgan", None, asked), images, processes).training.batch_size == size


@pytest.mark.parametrize(
    ("model", "images", "size"),
    [
        ("vae", 60_000, 128),
        ("vae", 10_000, 128),
        ("vae", 9_999, 32),
        ("ae", 38, 32),
        ("vae-gan", 60_000, 32),
        ("vae", 20, 20),
        ("beta-tcvae", 9_999, 128),
        ("factor-vae", 9_999, 128),
        ("wae", 9_999, 128),
        ("dip-vae", 38, 38),
    ],
)
def test_a_vae_has_larger_batches_where_there_are_many_images(model: str, images: int, size: int) -> None:
    assert with_batch_size(resolve(model, None, {"device": "cpu"}), images).training.batch_size == size


def test_a_small_set_is_trained_on_whole_and_continued_without_a_batch_size(tmp_path: Path) -> None:
    run = ms.train("vae", small_pack(20), out=tmp_path / "run", epochs=2, **MLP)
    assert run.configuration.training.batch_size == 19 and run.images == 38  # one image is held out
    longer = ms.train("vae", small_pack(20), out=tmp_path / "run", epochs=3, **MLP)
    assert longer.configuration.training.batch_size == 19 and longer.images == 57
    with pytest.raises(RunError, match="batch_size = 5, was 19"):
        ms.train("vae", small_pack(20), out=tmp_path / "run", epochs=3, batch_size=5, **MLP)
    with pytest.raises(SettingError, match="batch_size = 20: there are only 19 images"):
        ms.train("vae", small_pack(20), out=tmp_path / "other", batch_size=20, **MLP)
    assert not (tmp_path / "other").exists()


DEEP = {**BRIEF, "widths": (2, 2, 2, 2), "images": 8}


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("vae", {}),
        ("cvae", {}),
        ("beta-tcvae", {}),
        ("wgan-gp", {}),
        ("cgan", {}),
        ("vae-gan", {}),
        ("lsgan", {"packing": 4, "batch_size": 4}),
    ],
)
def test_batch_norm_of_a_single_value_is_refused_before_anything_is_written(
    model: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    how = {"batch_size": 1, **DEEP, **settings}
    with pytest.raises(SettingError, match=r"batch_size = \d: batch norm needs 2 images where a tower ends in 1x1"):
        ms.train(model, small_pack(8), out=tmp_path / "run", **how)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", [{"norm": "none"}, {"widths": (2, 2, 2)}, {"batch_size": 2}])
def test_the_ways_out_that_the_refusal_names_work(settings: dict[str, Any], tmp_path: Path) -> None:
    run = ms.train("vae", small_pack(8), out=tmp_path / "run", **{"batch_size": 1, **DEEP, **settings})
    assert run.images == 8


def test_the_check_of_a_small_batch_changes_nothing_that_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"batch_size": 1, **DEEP, "widths": (2, 2)}
    checked = ms.train("vae", small_pack(8), out=tmp_path / "checked", **how)
    monkeypatch.setattr("morphospace.tools.train.job.check_batch_norm", lambda model, batch: None)
    plain = ms.train("vae", small_pack(8), out=tmp_path / "plain", **how)
    for one, other in zip(checked.model.networks.state_dict().values(), plain.model.networks.state_dict().values()):
        assert torch.equal(one, other)


class Encoder(nn.Module):
    """Ends in a batch norm of vectors, which one image is too few for at any size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(256, 4), nn.BatchNorm1d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(images.flatten(1)))


def test_a_network_of_the_callers_own_is_checked_too(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="batch norm needs 2 images"):
        ms.train("vae", small_pack(8), out=tmp_path / "run", parts={"encoder": Encoder()}, batch_size=1, **MLP)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("model", "data"), [("cvae", "digits"), ("cgan", "digits"), ("mask-vae", "toyfaces:50")])
def test_a_dry_run_refuses_what_the_run_refuses(
    model: str, data: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = f"train {model} --data {data} --size 16 --widths 2,2,2,2 --batch-size {{}} --dry-run".split()
    assert main([word.format(1) for word in words]) == 2
    assert "error: batch_size = 1: batch norm needs 2 images" in capsys.readouterr().err
    assert main([word.format(2) for word in words]) == 0


@pytest.mark.parametrize("model", ["wae", "info-vae", "dip-vae"])
def test_a_batch_that_has_no_pairs_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"batch_size = 1: {model} compares the codes of a batch"):
        ms.train(model, small_pack(8), out=tmp_path / "run", batch_size=1, images=8, **MLP)
    assert not list(tmp_path.iterdir())
