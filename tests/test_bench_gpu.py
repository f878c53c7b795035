"""The measurement of a GPU: every line of it runs on the CPU, and whatever fails stops nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bench import gpu, gpu_parts
from bench.__main__ import main


def test_every_part_runs_on_the_cpu_and_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(gpu.PARTS) == list(gpu_parts.PARTS)
    assert main(["gpu", "--dry", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(gpu.DRY) and said.rstrip().endswith(gpu.DRY)
    found = json.loads((tmp_path / "dry.json").read_text())
    assert found["dry"] is True and all(part["done"] for part in found["parts"].values())
    rows = [row for part in found["parts"].values() for row in part["rows"]]
    assert len(rows) > len(gpu.PARTS) and not [v for row in rows for v in row.values() if isinstance(v, float)]
    assert (tmp_path / "dry.md").read_text().startswith(gpu.DRY)


# A process that stands in for the one with the card: the part `wrong` fails, `dies` ends the process, `hangs` waits.
WORKER = """
import json, sys, time
print(json.dumps({"facts": {"card": "A card", "torch": "2", "python": "3"}}), flush=True)
for line in sys.stdin:
    name, seconds = json.loads(line)
    print(json.dumps({"row": {"what": name, "images/s": 123456.0}}), flush=True)
    if name == "dies":
        sys.exit(9)
    if name == "hangs":
        time.sleep(60)
    print(json.dumps({"error": "it is wrong"} if name == "wrong" else {"done": name}), flush=True)
    if name == "wrong":
        break
"""


def test_what_fails_stops_nothing_and_is_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        gpu, "PARTS", {"first": (0, 60), "wrong": (0, 60), "dies": (0, 60), "hangs": (0, 1), "end": (0, 60)}
    )
    monkeypatch.setattr(gpu, "LEAST", 0.5)
    monkeypatch.setattr(gpu, "command_of", lambda arguments: [sys.executable, "-c", WORKER])
    assert main(["gpu", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    for line in (
        "first: first; images/s 123,456",
        "wrong: FAILED: it is wrong",
        "dies: FAILED: the process ended, with status 9",
        "hangs: FAILED: took more than 1 s, and was ended",
        "end: end; images/s 123,456",
        "2 parts done, 3 failed, wrong, dies, hangs, 0 left",
    ):
        assert line in said.splitlines()
    table = (tmp_path / "A-card-2.md").read_text()
    assert "| end | 123,456 | A card |" in table and "wrong: failed: it is wrong" in table

    monkeypatch.setattr(gpu, "command_of", lambda arguments: [sys.executable, "-c", WORKER.replace("wrong", "never")])
    assert main(["gpu", "--out", str(tmp_path), "--only", "first", "wrong"]) == 0
    said = capsys.readouterr().out
    assert "first: kept from" in said and "wrong: wrong; images/s" in said and "2 parts done, 0 failed, 0 left" in said


def test_without_a_gpu_it_says_so_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = 'print(\'{"missing": "torch sees no CUDA device here"}\')'
    monkeypatch.setattr(gpu, "command_of", lambda arguments: [sys.executable, "-c", missing])
    assert main(["gpu", "--out", str(tmp_path / "results")]) == 2
    assert capsys.readouterr().err == "error: torch sees no CUDA device here\n"
    assert not (tmp_path / "results").exists()


def test_what_the_time_does_not_allow_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "command_of", lambda arguments: [sys.executable, "-c", WORKER])
    assert main(["gpu", "--out", str(tmp_path), "--minutes", "0.1"]) == 1
    assert f"0 parts done, 0 failed, {len(gpu.PARTS)} left" in capsys.readouterr().out
