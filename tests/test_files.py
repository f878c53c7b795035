"""Files appear whole or not at all, and what a kill left of them is removed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from morphospace import files
from morphospace.files import as_cell, as_json, atomic, check_folder, json_text, sweep, vacant, write_text

FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "=cmd|' /C calc'!A0"]
WRITER = """
import sys, time
from pathlib import Path
from morphospace.files import atomic
with atomic(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(path: Path) -> subprocess.Popen[str]:
    """Start a process that writes a file and does not finish."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def test_what_a_killed_process_left_is_removed_by_the_next_and_a_living_one_is_spared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, killed = writer(tmp_path / "a.png"), writer(tmp_path / "b.png")
    try:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert len(list(tmp_path.iterdir())) == 2
        for name in (".b.png", "b.partial-1.png", ".b.partial-x.png", ".partial-12"):  # not of ours
            (tmp_path / name).touch()
        (tmp_path / "elsewhere").touch()
        (tmp_path / ".c.partial-12.png").symlink_to(tmp_path / "elsewhere")
        (tmp_path / ".d.partial-12.png").mkdir()
        before = {path.name for path in tmp_path.iterdir()}
        monkeypatch.setattr(files, "_swept", set())
        write_text(tmp_path / "c.png", "whole")
        assert before - {path.name for path in tmp_path.iterdir()} == {f".b.partial-{killed.pid}.png"}
        assert (tmp_path / f".a.partial-{living.pid}.png").read_text() == "half"
    finally:
        living.kill()
        living.wait()
    sweep(tmp_path)
    assert not (tmp_path / f".a.partial-{living.pid}.png").exists()


def test_threads_that_write_one_file_wait_for_each_other(tmp_path: Path) -> None:
    texts = [str(i) * 1000 for i in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "x.txt", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x.txt").read_text() in texts and len(list(tmp_path.iterdir())) == 1


def test_a_temporary_path_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / f".x.partial-{os.getpid()}.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="cannot be written"):
        write_text(tmp_path / "x.txt", "new")
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_a_folder_with_nothing_but_a_broken_attempt_is_free(tmp_path: Path) -> None:
    assert vacant(tmp_path / "none") and vacant(tmp_path)
    (tmp_path / ".run.partial-12.toml").touch()
    assert vacant(tmp_path)
    check_folder(str(tmp_path), holds="run.toml", what="run")
    (tmp_path / "mine.txt").touch()
    assert not vacant(tmp_path) and not vacant(tmp_path / "mine.txt")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert not vacant(tmp_path / "dangling")


def test_json_holds_no_number_that_is_none() -> None:
    value = {"a": math.nan, "b": [math.inf, 1.5], "c": np.array([1.0, -np.inf]), "d": np.float32(2), "e": None, 1: "x"}
    assert json.loads(json_text(value)) == {"a": None, "b": [None, 1.5], "c": [1.0, None], "d": 2, "e": None, "1": "x"}
    assert as_json((True, 3)) == [True, 3]


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    def fails() -> None:
        with atomic(tmp_path / "x.txt") as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", FORMULAS)
def test_a_table_runs_no_formula(text: str) -> None:
    assert as_cell(text) == f"'{text}"


def test_numbers_and_words_of_a_table_stay() -> None:
    values = [-3, 0.5, None, "-0.5", "+3e-4", "a=b", "vae", ""]
    assert [as_cell(value) for value in values] == values
