"""A second start of what is in use already says so, and changes nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from morphospace.runs.folder import RunFolder

from .conftest import VAE, Morpho


def test_a_run_in_use_is_said_to_be_in_use(morpho: Morpho, tmp_path: Path) -> None:
    out = tmp_path / "r"
    assert morpho(*VAE, "--out", out).code == 0
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with RunFolder.open(out).locked():
        for words in ([*VAE, "--out", out], ["resume", out, "--epochs", 0.4]):
            said = morpho(*words)
            assert said.code == 2 and said.err.count("\n") == 1
            assert "another process is training this run; wait for it or stop it" in said.err
    assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with socket.create_server(("127.0.0.1", 0)) as taken:  # a studio that runs
        said = morpho("studio", out, "--port", taken.getsockname()[1], "--no-browser")
    assert said.code == 2 and "give another --port" in said.err and said.err.count("\n") == 1


def test_two_first_starts_at_once_make_one_run(morpho: Morpho, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has made the folder, or written its settings, between our look and our own beginning."""
    out = tmp_path / "r"
    real = RunFolder.create

    def meanwhile(path: Path, *more: object) -> RunFolder:
        made = real(path, *more)  # type: ignore[arg-type]
        return real(made.path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(RunFolder, "create", meanwhile)
    said = morpho(*VAE, "--out", out)
    assert said.code == 2 and "another process has just begun this run" in said.err and "is not a run" not in said.err
