"""A slice of the malformed inputs of `python -m bench abuse`, with a fixed seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_slice_of_malformed_inputs_has_no_fault() -> None:
    words = [sys.executable, "-m", "bench", "abuse", "--n", "60", "--seed", "7"]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
