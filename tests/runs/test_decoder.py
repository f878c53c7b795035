"""Frames for interactive use: the same images as elsewhere, and no more threads than they are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import morphospace as ms
from morphospace.errors import SettingError
from morphospace.runs import decoder as decoding
from morphospace.runs.codes import decode
from morphospace.runs.configuration import resolve

SMALL = {"images": 64, "batch_size": 32, "latent_dim": 4, "device": "cpu", "report_images": 10**6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    ms.train("vae", data="digits", tower="mlp", widths=(8,), out=folder / "vae", **SMALL)
    ms.train("cvae", data="digits", tower="mlp", widths=(8,), out=folder / "cvae", **SMALL)
    return {name: folder / name for name in ("vae", "cvae")}


def test_frames_are_what_decoding_gives(runs: dict[str, Path]) -> None:
    session = ms.Decoder(runs["vae"])
    codes = np.random.default_rng(0).standard_normal((3, 4))
    frames = session.frames(codes)
    assert frames.dtype == np.uint8 and frames.shape == (3, 8, 8, 1)
    assert np.array_equal(frames, decode(session.run.model, torch.from_numpy(codes)))
    told = ms.Decoder(ms.load(runs["cvae"]))
    condition = torch.eye(10)[:3]
    assert np.array_equal(told.frames(codes, condition), decode(told.run.model, torch.from_numpy(codes), condition))


def test_work_is_counted_in_closed_form(runs: dict[str, Path]) -> None:
    assert ms.Decoder(runs["vae"]).flop == 2 * (4 * 8 + 8 * 64)


@pytest.mark.parametrize(
    ("recipe", "shape"),
    [
        ("celeba-vae-well", (64, 64, 3)),
        ("celebamask-vae", (64, 64, 3)),
        ("fashion-vaegan", (28, 28, 1)),
        ("mnist-iwae-k1", (28, 28, 1)),
        ("celeba-dcgan", (64, 64, 3)),
        ("wgan-gp", (64, 64, 3)),
        ("fashion-r3gan", (32, 32, 1)),
        ("toyfaces-fast-gan", (64, 64, 3)),
    ],
)
def test_work_is_what_torch_counts(recipe: str, shape: tuple[int, int, int]) -> None:
    model = resolve(recipe=recipe).model.build(shape, None, None).eval()
    z = torch.zeros(3, model.latent_dim)
    with torch.no_grad(), FlopCounterMode(display=False) as theirs, decoding.counted(model.networks) as ours:
        model.decode(z)
    assert sum(ours) == theirs.get_total_flops() > 3e5
    before = len(ours)
    model.decode(z)
    assert len(ours) == before, "nothing is noted any more once it has been counted"


def test_threads_are_as_many_as_the_work_is_worth_and_are_given_back(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ms.Decoder(runs["vae"])
    used: list[int] = []
    whole = session.run.model.decode  # type: ignore[attr-defined]
    monkeypatch.setattr(
        session.run.model, "decode", lambda *z: (used.append(torch.get_num_threads()), whole(*z))[1], raising=False
    )
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        session.frames(torch.zeros(1, 4))
        monkeypatch.setattr(decoding, "ONE_THREAD_FLOP", session.flop * 5)
        session.frames(torch.zeros(4, 4))
        session.frames(torch.zeros(5, 4))
        assert used == [1, 1, 3] and torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), decoding.threads(2):
            _ = 1 / 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_refusals(runs: dict[str, Path]) -> None:
    session, told = ms.Decoder(runs["vae"]), ms.Decoder(runs["cvae"])
    with pytest.raises(SettingError, match=r"codes = \(4,\): must have the shape \(B, 4\)"):
        session.frames(torch.zeros(4))
    with pytest.raises(SettingError, match="the model takes no condition"):
        session.frames(torch.zeros(1, 4), torch.zeros(1, 10))
    for condition in (None, torch.zeros(2, 10)):
        with pytest.raises(SettingError, match=r"condition = .*: must have the shape \(1, 10\)"):
            told.frames(torch.zeros(1, 4), condition)
