"""A slice of the malformed inputs of `python -m bench abuse`, with a fixed seed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench import abuse


def test_a_slice_of_malformed_inputs_has_no_fault() -> None:
    words = [sys.executable, "-m", "bench", "abuse", "--n", "60", "--seed", "7"]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("work", ["import time; time.sleep(60)", "while True: pass"])
def test_what_hangs_is_killed(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse, "SECONDS", 0.2)
    child = subprocess.Popen([sys.executable, "-c", work], process_group=0)
    status, _ = abuse.waited(child.pid)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == -signal.SIGKILL
