from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from morphospace.cli import main

TINY = ["--data", "digits", "--size", "8", "--latent-dim", "2", "--batch-size", "64", "--epochs", "0.2"]
VAE = ["train", "vae", *TINY, "--widths", "4"]


@dataclass(frozen=True)
class Said:
    """What a command left behind it: status and words."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON object it must be."""
        return json.loads(self.out)


Morpho = Callable[..., Said]


@pytest.fixture(autouse=True)
def quiet_place(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No command may touch the home, nor find data by accident."""
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MORPHOSPACE_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def morpho(capfd: pytest.CaptureFixture[str]) -> Morpho:
    """Run the command line in this process."""

    def run(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tiny trained run of each model, made by the command line itself."""
    folder = tmp_path_factory.mktemp("runs")
    before = os.environ.get("MORPHOSPACE_CACHE")
    os.environ["MORPHOSPACE_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    made = {}
    for name in ("vae", "ae", "dcgan"):
        made[name] = folder / name
        assert main(["train", name, *TINY, "--widths", "4", "--out", str(made[name])]) == 0
    if before is None:
        del os.environ["MORPHOSPACE_CACHE"]
    else:
        os.environ["MORPHOSPACE_CACHE"] = before
    return made


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
