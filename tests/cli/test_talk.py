"""What is said can be written, whatever the stream and the file's name, and moves no terminal."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphospace.cli.talk import Answer, Table, Talk
from morphospace.errors import sayable
from morphospace.tools.train.progress import Watch

from .conftest import Morpho

ODD = "\x1b[31mred\x07\x9b\u202etxt\u2066\u200f\u2028"  # colours, a bell, writing turned round, a new line
CONTROLS = set("\x1b\x07\x9b\u202e\u2066\u200f\u2028")


class Screen(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        return True


def test_bytes_that_are_no_text_are_spelled_out() -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert sayable("skipped caf\udce9.png, Zoë", plain) == "skipped caf\\udce9.png, Zoë"
    assert sayable("Zoë", io.TextIOWrapper(io.BytesIO(), encoding="ascii")) == "Zo\\xeb"


@pytest.mark.parametrize("terminal", [True, False])
def test_no_name_moves_the_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    talk = Talk()
    talk.answer(Answer({}, [f"class {ODD}\nerror: none"], Table([ODD, "n"], [[ODD, "1\n2"]])))
    talk.fail(f"{ODD}: no such class")
    watch = Watch(talk, [f"data {ODD}"])
    watch.packing(1, 3)
    watch.say(f"skipped {ODD}")
    watch.close()
    said = screen.getvalue()
    if terminal:  # rich colours its own lines
        assert "\x1b[31mred" not in said and not CONTROLS - {"\x1b"} & set(said)
    else:
        assert not CONTROLS & set(said)
    assert said.count("\\u202etxt") >= 5 and "\nerror: none" not in said


def test_of_several_processes_the_first_says_the_error_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("morphospace.cli.talk.time.sleep", waited.append)
    assert Talk(as_json=True).fail("lr = -1: must be positive") == 2 and not waited
    assert "error" in capsys.readouterr().out
    assert Talk(as_json=True, quiet=True).fail("lr = -1: must be positive") == 2 and waited == [10.0]
    assert capsys.readouterr().out == ""


def test_names_of_files_and_classes_are_spelled_out_by_every_command(morpho: Morpho, tmp_path: Path) -> None:
    folder = tmp_path / f"set {ODD}"
    for number in range(8):
        place = folder / f"{number % 2}{ODD}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}{ODD}.png")
    (folder / f"0{ODD}" / f"broken{ODD}.png").write_bytes(b"no image")
    data = ["--data", f"folder:{folder}", "--classes", "--size", 8]
    out = tmp_path / f"run {ODD}"
    small = ["--latent-dim", 2, "--widths", 4, "--batch-size", 4, "--epochs", 1, "--condition", "label"]
    commands = [
        ["data", "check", f"folder:{folder}", "--classes", "--size", 8],
        ["data", "show", f"folder:{folder}", "--classes", "--size", 8, "--out", tmp_path / "s.png"],
        ["train", "cvae", *data, *small, "--dry-run"],
        ["train", "cvae", *data, *small, "--out", out],
        ["sample", out, "--label", f"1{ODD}", "--out", tmp_path / f"{ODD}.png"],
        ["sample", out, "--label", f"2{ODD}", "--out", tmp_path / "no.png"],
        ["runs", tmp_path],
        ["card", out],
        ["train", "vae", "--data", f"folder:{tmp_path}/no{ODD}", "--dry-run"],
    ]
    for words in commands:
        said = morpho(*words)
        assert not CONTROLS & set(said.out + said.err), words
        assert "Traceback" not in said.err
    assert sum(morpho(*words).code for words in commands[:2]) == 0


def test_under_torchrun_an_error_is_said_once() -> None:
    launch = ["--standalone", "--nproc-per-node", "2", "--no-python", sys.executable, "-c"]
    code = "import sys; from morphospace.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-m", "torch.distributed.run", *launch, code, "train", "vae", "--data", "nowhere"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode != 0 and len(lines) == 1, done.stderr


def test_the_first_process_speaks_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []
    monkeypatch.setattr("morphospace.cli.talk.time.sleep", lambda seconds: order.append(capsys.readouterr().err))
    assert Talk(quiet=True).fail("wrong") == 2
    assert order == [""] and capsys.readouterr().err == "error: wrong\n"
    with contextlib.suppress(SystemExit):
        Talk().fail("wrong")
    assert len(order) == 1
