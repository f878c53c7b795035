"""Time to quality: contestants train and draw, reach marks in turns, and are not trained again."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from bench import quality, quality_worker
from bench.__main__ import main
from bench.quality import CONTESTANTS, Contestant

HERE = [one for one in CONTESTANTS.values() if one.name != "pythae"]


@pytest.mark.parametrize("contestant", HERE, ids=[one.name for one in HERE])
def test_every_contestant_trains_and_draws(contestant: Contestant, tmp_path: Path) -> None:
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, (256, 32, 32, 1), np.uint8))
    arguments = argparse.Namespace(images=images, folder=tmp_path, seed=0, data="digits")
    make = quality_worker.ours if contestant.ours else quality_worker.published
    train, sample = make(contestant, arguments)
    seen: list[int] = []

    def tick(count: int) -> None:
        seen.append(count)
        raise quality_worker.Over

    before = sample(4, 1)
    with pytest.raises(quality_worker.Over):
        train(tick)
    drawn = sample(4, 1)
    assert drawn.shape == (4, 32, 32, 1) and drawn.dtype == np.uint8
    assert seen in ([128], [32]) and not np.array_equal(drawn, before)


# A process that stands in for a contestant: `tutorial` needs twice the minutes of `ours, dcgan` for the same distance.
WORKER = """
import json, sys
import numpy as np
name, folder = sys.argv[1], sys.argv[2]
for line in sys.stdin:
    if name == "published":
        sys.exit("it broke")
    minutes = float(line)
    file = f"{folder}/{name.replace(' ', '')}.npy"
    noise = 200 / minutes * (1 if name.startswith("ours") else 2)
    np.save(file, np.full((16, 32, 32, 1), min(255, noise)).astype(np.uint8))
    print(json.dumps({"samples": file, "minutes": minutes, "images": int(1000 * minutes), "steps": 7}), flush=True)
"""


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Processes that train nothing, and a distance that is the samples' brightness; lists which were started."""
    started: list[str] = []

    def command(contestant: Contestant, python: str, words: list[str]) -> list[str]:
        started.append(contestant.name)
        return [sys.executable, "-c", WORKER, contestant.name, words[1]]

    def judged(self: quality.Results, samples: np.ndarray) -> dict[str, object]:
        about = {"features": "brightness", "features_quality": "none", "n_real": 1, "split": "test"}
        return {"fd": float(samples.mean()), "low": None, "high": None, **about}

    monkeypatch.setattr(quality, "command_of", command)
    monkeypatch.setattr(quality.Results, "judged", judged)
    return started


def test_marks_are_kept_and_compared(
    stand_ins: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["quality", "--out", str(tmp_path), "--data", "digits", "--only", "tutorial", "ours, dcgan"]
    assert main([*words, "--minutes", "4", "--target", "150"]) == 0
    said = capsys.readouterr().out
    first, second = (line for line in said.splitlines() if line.startswith("| ") and "run" not in line)
    assert first.startswith("| tutorial | 255.0 | 255.0 | 200.0 | 100.0 | 4,000 | 2.7 | 1.00 | 4 |")
    assert second.startswith("| ours, dcgan | 255.0 | 200.0 | 100.0 | 50.0 | 4,000 | 1.3 | 0.50 | 2 |")
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["contestant"] for row in rows[:3]] == ["tutorial", "ours, dcgan", "tutorial"]  # in turns
    assert (tmp_path / "quality.png").is_file() and (tmp_path / "samples.png").is_file()

    stand_ins.clear()
    assert main([*words, "--minutes", "4"]) == 0 and not stand_ins  # nothing is trained again
    assert main([*words, "--minutes", "6"]) == 0 and stand_ins == ["tutorial", "ours, dcgan"]
    capsys.readouterr()
    assert main(["quality", "--out", str(tmp_path), "--data", "digits", "--only", "published"]) == 1
    assert "error: published: ended with status 1: it broke" in capsys.readouterr().err


def test_a_dry_run_shows_no_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--dry", "--out", str(tmp_path), "--only", "published"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(quality.DRY) and "published: FD not measured" in said
    assert "| published | not measured |" in said and not (tmp_path / "dry" / "results.jsonl").exists()


def test_a_target_between_two_marks_follows_a_power_law() -> None:
    assert quality.reached([(1.0, 100.0), (4.0, 25.0)], 50.0) == pytest.approx(2.0)
    assert quality.reached([(2.0, 20.0)], 30.0) == 2.0 and math.isnan(quality.reached([(2.0, 40.0)], 30.0))
