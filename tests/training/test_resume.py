"""kill -9, run again: the same weights, byte for byte."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# 200 steps of 16 images on 8x8 digits, a checkpoint every 40 steps.
STEPS = 200
SCRIPT = """
import sys, time
import morphospace as ms
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Resumed, Reported
model, out, precision, pause = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
def listen(event):
    if isinstance(event, Resumed):
        print("resumed at step", event.clock.step, flush=True)
    if isinstance(event, Reported):
        time.sleep(pause)
ms.train(model, data="digits", out=out, images=200 * 16, batch_size=16, checkpoint_images=40 * 16, report_images=5 * 16,
         widths=(8,), latent_dim=4, precision=precision, ema_halflife_images=100, device="cpu", keep=9,
         hooks=Hooks(listeners=[listen]))
"""
KILLED_WHILE_WRITING = """
import os, signal, sys
import morphospace.runs.checkpoints as checkpoints
real = checkpoints.save_file
def dies(tensors, path, metadata=None):
    real(tensors, path, metadata)
    if os.path.isdir(sys.argv[2] + "/checkpoints/000000001280") and path.name.startswith("optimizer"):
        with open(path, "r+b") as file:
            file.truncate(100)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.save_file = dies
"""


def command(script: str, model: str, out: Path, precision: str, pause: float) -> list[str]:
    return [sys.executable, "-c", script, model, str(out), precision, str(pause)]


def run(*arguments: object) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weights(out: Path) -> str:
    last = out / "checkpoints" / (out / "checkpoints" / "last").read_text()
    assert last.name == f"{STEPS * 16:012d}"
    files = sorted(last.glob("*.safetensors"))
    assert {f.stem for f in files} == {"model", "ema", "optimizer"}
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def resumed_step(output: str) -> int:
    line = next(line for line in output.splitlines() if line.startswith("resumed at step"))
    return int(line.split()[-1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["vae", "dcgan"])
def test_killed_and_run_again_ends_with_the_same_weights(model: str, precision: str, tmp_path: Path) -> None:
    run(SCRIPT, model, tmp_path / "straight", precision, 0)
    out = tmp_path / "killed"
    process = subprocess.Popen(command(SCRIPT, model, out, precision, 0.05))
    deadline = time.monotonic() + 100
    while not (out / "checkpoints" / "last").is_file():
        assert process.poll() is None, "ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the kill came too late to count"
    step = resumed_step(run(SCRIPT, model, out, precision, 0))
    assert 0 < step < STEPS, "the kill came too late to count"
    assert weights(out) == weights(tmp_path / "straight")


def test_killed_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    run(SCRIPT, "vae", tmp_path / "straight", "fp32", 0)
    out = tmp_path / "killed"
    done = subprocess.run(command(KILLED_WHILE_WRITING + SCRIPT, "vae", out, "fp32", 0), timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert list((out / "checkpoints").glob(".partial-*")), "the kill did not fall into the writing"
    output = run(SCRIPT, "vae", out, "fp32", 0)
    assert resumed_step(output) == 1280 // 16
    assert weights(out) == weights(tmp_path / "straight")
    assert not list((out / "checkpoints").glob(".partial-*"))


def test_lines_of_a_run_killed_before_its_first_checkpoint_are_written_once(tmp_path: Path) -> None:
    import json

    import morphospace as ms
    from morphospace.tools.train.train import Hooks
    from morphospace.training.events import Event, Reported

    def killed(event: Event) -> None:
        if isinstance(event, Reported) and event.clock.images >= 128:
            raise RuntimeError

    how = {"data": "digits", "images": 256, "batch_size": 32, "report_images": 32, "checkpoint_images": 10**6}
    how |= {"tower": "mlp", "widths": (8,), "latent_dim": 2, "device": "cpu"}
    for _ in range(2):
        with pytest.raises(RuntimeError):
            ms.train("vae", out=tmp_path / "r", hooks=Hooks(listeners=[killed]), **how)
    ms.train("vae", out=tmp_path / "r", **how)
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "vae/loss" in line] == list(range(32, 257, 32))


def test_metric_lines_of_repeated_steps_are_written_once(tmp_path: Path) -> None:
    import json

    run(SCRIPT, "vae", tmp_path / "straight", "fp32", 0)
    out = tmp_path / "killed"
    subprocess.run(command(KILLED_WHILE_WRITING + SCRIPT, "vae", out, "fp32", 0), timeout=120)
    run(SCRIPT, "vae", out, "fp32", 0)

    def terms(path: Path) -> list[tuple[int, float]]:
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        return [(line["step"], line.get("vae/loss", line.get("valid/loss"))) for line in lines]

    assert terms(out) == terms(tmp_path / "straight")
