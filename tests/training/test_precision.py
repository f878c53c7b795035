"""What depends on the precision, with both answers of the capability check, whatever processor runs the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import morphospace as ms
from morphospace.cli.app import main
from morphospace.runs.checkpoints import last_numbers, load_tensors
from morphospace.training import precision
from morphospace.training.precision import choose_precision

TINY: dict[str, Any] = {
    "data": "digits", "size": "8", "images": 128, "batch_size": 32, "widths": (8,), "latent_dim": 4, "device": "cpu",
    "report_images": 64, "checkpoint_images": 64, "keep": 10,
}  # fmt: skip


@pytest.fixture(params=[True, False], ids=["bf16 at hand", "no bf16"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both answers to whether the hardware multiplies bfloat16 natively."""
    monkeypatch.setattr(precision, "bf16_is_fast", lambda device: request.param)
    return bool(request.param)


def test_auto_takes_bf16_where_it_is_fast(fast: bool) -> None:
    assert choose_precision("auto", torch.device("cpu")) == ("bf16" if fast else "fp32")
    assert choose_precision("fp32", torch.device("cpu")) == "fp32"
    assert choose_precision("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize("model", ["vae", "dcgan"])
def test_a_run_trains_in_the_precision_chosen_and_resumes_exactly(fast: bool, model: str, tmp_path: Path) -> None:
    whole = ms.train(model, out=tmp_path / "whole", **TINY)
    ms.train(model, out=tmp_path / "part", **{**TINY, "images": 64})
    part = ms.train(model, out=tmp_path / "part", **TINY)
    weights = [load_tensors(run.path / "checkpoints" / f"{128:012d}" / "model.safetensors") for run in (whole, part)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    run = ms.train(model, out=tmp_path / "run", **TINY, precision="bf16" if fast else "fp32")
    again = load_tensors(run.path / "checkpoints" / f"{128:012d}" / "model.safetensors")
    assert all(torch.equal(weights[0][name], again[name]) for name in again)


def test_a_comparison_names_the_precision(fast: bool, tmp_path: Path) -> None:
    run = ms.train("vae", out=tmp_path / "run", **TINY)
    twin = ms.train("vae", out=tmp_path / "twin", **TINY, seed=1)
    compared = ms.compare([run.path, twin.path], metrics="none")
    assert {member.cost.precision for member in compared.members} == {"bf16" if fast else "fp32"}


def test_a_run_keeps_the_precision_it_began_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was timed may come out otherwise the next time; a CPU that does not have bf16 takes fp32 and says so."""
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    monkeypatch.setattr(precision, "gain_of_bf16", lambda: 6.0)
    whole = ms.train("vae", out=tmp_path / "whole", **TINY)
    ms.train("vae", out=tmp_path / "part", **{**TINY, "images": 64})
    monkeypatch.setattr(precision, "gain_of_bf16", lambda: 0.5)
    part = ms.train("vae", out=tmp_path / "part", exact=True, **TINY)
    files = [run.path / "checkpoints" / f"{128:012d}" / "model.safetensors" for run in (whole, part)]
    assert files[0].read_bytes() == files[1].read_bytes()
    saved = last_numbers(part.path / "checkpoints")
    assert saved["precision"] == "bf16"
    assert choose_precision("auto", torch.device("cpu")) == "fp32"
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: False)
    assert choose_precision("auto", torch.device("cpu"), saved) == "fp32"
    assert choose_precision("auto", torch.device("cpu"), {**saved, "device": "NVIDIA H100"}) == "fp32"


def test_bf16_is_taken_only_where_it_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    for gain, chosen in ((0.55, "fp32"), (1.1, "fp32"), (4.0, "bf16")):
        monkeypatch.setattr(precision, "gain_of_bf16", lambda gain=gain: gain)
        assert choose_precision("auto", torch.device("cpu")) == chosen


def test_the_opening_line_names_the_precision_of_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ms.train("vae", out=tmp_path / "run", **TINY)
    for chosen in ("fp32", "bf16"):
        state = run.path / "checkpoints" / f"{128:012d}" / "state.json"
        state.write_text(json.dumps({**json.loads(state.read_text()), "precision": chosen}))
        monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
        assert main(["train", "vae", "--out", str(run.path), "--dry-run"]) == 0
        assert f"{chosen} on cpu" in capsys.readouterr().out
