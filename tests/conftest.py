"""What all tests share: a cache of their own, one thread a worker, tiny packs."""

from __future__ import annotations

import os

# Two training processes with two threads each run five times slower than with one each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling umap takes a minute, its few points a second

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphospace.pictures.plots import draw_curves, series


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["MORPHOSPACE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _curves_drawn_once() -> Iterator[None]:
    """Draw the curves of a worker's first run only, and give its picture to all others.

    Of a run of a few hundred images, drawing them takes more than half of the time.
    """
    pictures: list[bytes] = []

    def draw(path: Path, lines: Sequence[Mapping[str, Any]], title: str) -> None:
        if not series(lines):
            return
        if not pictures:
            draw_curves(path, lines, title)
            pictures.append(path.read_bytes())
        path.write_bytes(pictures[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("morphospace.runs.recorder.draw_curves", draw)
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_for_the_disk() -> Iterator[None]:
    """Leave out waiting until files are on the disk, which only a power cut would show: a tiny run does it 70 times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def device() -> Any:
    """A GPU, or the CPU that stands in for one where `bench gpu --dry` tries the tests marked `cuda`."""
    import torch
    from bench.gpu_device import device_for

    from morphospace.training.precision import choose_repeatable

    dry = "MORPHOSPACE_CUDA_STAND_IN" in os.environ
    if not dry and not torch.cuda.is_available():
        pytest.skip("no GPU here; where there is one, `python -m bench gpu` runs these")
    found = device_for(dry=dry)
    choose_repeatable(found.where)
    return found


@pytest.fixture
def blobs() -> np.ndarray:
    """Sixty-four grey 16x16 images of one bright disc each, in places that differ."""
    return draw_blobs(64, (16, 16, 1))


def draw_blobs(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw uint8 images (count, H, W, C) of one soft disc each."""
    height, width, channels = shape
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    centres = rng.uniform(0.25, 0.75, (count, 2)) * (height, width)
    radius = min(height, width) / 5
    distance = np.hypot(y - centres[:, :1, None], x - centres[:, 1:, None])
    images = (255 / (1 + np.exp(distance - radius))).astype(np.uint8)
    return np.repeat(images[..., None], channels, axis=3)
