"""What depends on the precision, with both answers of the capability check, whatever processor runs the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import morphospace as ms
from morphospace.runs.checkpoints import load_tensors
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
