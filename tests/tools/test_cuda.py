"""Every tool gives on a GPU what it gives on the CPU. See `bench gpu`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench.gpu_device import Device

import morphospace as ms

pytestmark = pytest.mark.cuda
TOOLS: dict[str, Callable[[ms.Run], Any]] = {
    "sample": lambda run: ms.sample(run, 4, seed=1),
    "sample-mixture": lambda run: ms.sample(run, 4, seed=1, prior="mixture"),
    "reconstruct": lambda run: ms.reconstruct(run, 4),
    "interpolate": lambda run: ms.interpolate(run, 0, 1, steps=4),
    "traverse": lambda run: ms.traverse(run, rows=2, steps=3, images=64),
    "components": lambda run: ms.components(run, images=64),
    "pca": lambda run: ms.pca(run, 64, grid=3),
    "attribute": lambda run: ms.attribute(run, "glasses", image=2, strength=(-1.0, 1.0, 3)),
    "project": lambda run: ms.project(run, [0, 1], refine=5),
    "score": lambda run: ms.score(run, "toyfaces:64", n=16),
    "evaluate": lambda run: ms.evaluate(
        run, metrics=("fd", "mse"), n=64, features="pixels", device=run.model.device.type
    ),
    "latent_map": lambda run: ms.latent_map(run, 64),
    "diagnose": lambda run: ms.diagnose(run, n=64),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings: dict[str, Any] = {
        "data": "toyfaces:256",
        "size": "16",
        "widths": (8, 16),
        "latent_dim": 6,
        "images": 2560,
    }
    return ms.train("vae", device="cpu", out=tmp_path_factory.mktemp("run") / "vae", **settings).path


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_gives_what_it_gives_on_the_cpu(tool: str, trained: Path, device: Device) -> None:
    there, here = (dict(numbers(TOOLS[tool](ms.load(trained, device=where)))) for where in (device.where.type, "cpu"))
    assert here and there.keys() == here.keys()
    for name, wanted in here.items():
        found = there[name]
        assert found.shape == wanted.shape, name
        far = np.abs(found - wanted).mean()
        assert far <= 0.02 * (np.abs(wanted).mean() + wanted.std()) + 1e-6, name  # convolutions in TF32


def numbers(result: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a tool's result, with where they stand in it."""
    if isinstance(result, ms.Run | ms.Pack | str | Path | None):
        return
    if isinstance(result, torch.Tensor):
        result = result.detach().cpu().numpy()
    if isinstance(result, np.ndarray | np.generic | float | int):
        yield name, np.asarray(result, dtype=np.float64)
    elif dataclasses.is_dataclass(result):
        for field in dataclasses.fields(result):
            if field.name not in ("seconds", "low", "high"):
                yield from numbers(getattr(result, field.name), f"{name}.{field.name}")
    elif isinstance(result, Mapping):
        for key, each in result.items():
            yield from numbers(each, f"{name}[{key}]")
    elif isinstance(result, list | tuple | set | frozenset):
        for i, each in enumerate(result):
            yield from numbers(each, f"{name}[{i}]")
    else:
        raise TypeError(f"{name} is {type(result)}, which this test does not compare")
