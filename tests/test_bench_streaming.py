"""The measurement runs; what it measures means nothing at these sizes."""

from __future__ import annotations

import json
from pathlib import Path

import bench.streaming as streaming
import pytest
from bench.__main__ import main


def test_it_runs_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "_worker", lambda *words: streaming._task(list(map(str, words))))
    monkeypatch.setattr(streaming, "LEAST_CAP_MIB", 0)
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path))
    out = tmp_path / "all.json"
    few = ["--quick", "--steps", "3", "--files", "20", "30", "--json", str(out)]
    assert main(["streaming", *few, "--cap-mib", "100000"]) == 0
    said = capsys.readouterr().out
    assert "streamed / resident" in said and "| one worker, 30 small files |" in said
    found = json.loads(out.read_text())
    assert found["training"]["streamed"][0]["rate"] > 0 and found["packing"]["plain loop, 20 files"][0]["per_core"] > 0
    assert found["training"]["streamed"][0]["peak_anonymous_mib"] > 50
    assert not [path for path in tmp_path.iterdir() if path != out]
    monkeypatch.setattr(streaming, "_packing", lambda *arguments: {})
    assert main(["streaming", *few, "--cap-mib", "1"]) == 1
    assert "above the cap" in capsys.readouterr().err


def test_a_cap_that_nothing_could_keep_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["streaming", "--cap-mib", "10"]) == 2
    assert "--cap-mib 10" in capsys.readouterr().err
