"""Commands that are killed and run again leave what an undisturbed one does: a slice of the figure in the docs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.kills import differences, files_of

ROOT = Path(__file__).parents[1]


def test_a_slice_of_the_trials() -> None:
    words = [sys.executable, "-m", "bench", "kills", "--n", "4", "--seed", "7"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr + done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("| all |"))
    assert row.startswith("| all | 4 |") and row.endswith("| 4 |")


@pytest.mark.parametrize(
    ("name", "content", "same"),
    [
        ("run.toml", 'created = "today"\nbeta = 1', 'created = "tomorrow"\nbeta = 1'),
        ("metrics.jsonl", '{"step": 1, "seconds": 2}', '{"seconds": 3, "step": 1}'),
        ("state.json", '{"seconds": 1, "files": {"a": 2}}', '{"seconds": 2, "files": {"a": 2}}'),
        ("tensorboard/events.1", "a", "b"),
    ],
)
def test_times_alone_make_no_difference(name: str, content: str, same: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    before = files_of(tmp_path)
    (tmp_path / name).write_text(same)
    assert not differences(before, files_of(tmp_path))
    (tmp_path / name).write_text(same.replace("1", "4").replace("2", "5"))
    assert name.startswith("tensorboard") or differences(before, files_of(tmp_path)) == [f"different: {name}"]
    (tmp_path / ".x.partial-1").touch()
    assert "left over: .x.partial-1" in differences(before, files_of(tmp_path))
