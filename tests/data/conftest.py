"""Every test has its own cache, no root of its own, and no network."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(folder))
    if "real" not in request.keywords:
        monkeypatch.delenv("MORPHOSPACE_DATA", raising=False)
    return folder


def picture(seed: int, height: int = 20, width: int = 16, channels: int = 3) -> np.ndarray:
    """Smooth, so that JPEG keeps it, and different for every seed."""
    y, x = np.mgrid[0:height, 0:width]
    base = [128 + 100 * np.sin((y * (1 + c) + x * (2 - c) + 5 * seed) / 17) for c in range(channels)]
    return np.stack(base, -1).astype(np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of small PNGs: tree("a/0", "a/1", ...)."""

    def make(*names: str, name: str = "images", kind: str = "png", **options: int) -> Path:
        base = tmp_path / name
        for i, each in enumerate(names):
            path = base / f"{each}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(picture(i, **options), "JPEG" if kind == "jpg" else "PNG"))
        return base

    return make


def one_line(error: BaseException) -> str:
    """The message, checked to be what a user should see."""
    text = str(error)
    assert text and "\n" not in text and "Traceback" not in text
    return text
