"""kill -9, run again: the same weights, byte for byte."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bench.kills import differences, files_of
from safetensors.torch import load_file

import morphospace as ms
from morphospace.errors import RunError, SettingError, TrainingError
from morphospace.runs.checkpoints import latest
from morphospace.runs.folder import RunFolder, last_values
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Checkpointed, Event, Listener, Progressed, Reported, Resumed

# 200 steps of 16 images on 8x8 digits, a checkpoint every 40 steps.
STEPS = 200
LONG: dict[str, Any] = {
    "data": "digits",
    "images": STEPS * 16,
    "batch_size": 16,
    "checkpoint_images": 40 * 16,
    "report_images": 5 * 16,
    "widths": (8,),
    "latent_dim": 4,
    "ema_halflife_images": 100,
    "device": "cpu",
    "keep": 9,
}
SLOWLY = """
import sys, time
import morphospace as ms
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Reported
model, out, settings = sys.argv[1], sys.argv[2], eval(sys.argv[3])
listen = lambda event: isinstance(event, Reported) and time.sleep(0.05)
ms.train(model, out=out, hooks=Hooks(listeners=[listen]), **settings)
"""


def weights(out: Path) -> str:
    last = out / "checkpoints" / (out / "checkpoints" / "last").read_text()
    assert last.name == f"{STEPS * 16:012d}"
    files = sorted(last.glob("*.safetensors"))
    # A VAE's last samples come from a prior that is fitted to its codes, and kept beside the weights.
    assert {f.stem for f in files} - {"prior-mixture"} == {"model", "ema", "optimizer"}
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["vae", "dcgan"])
def test_killed_and_run_again_ends_with_the_same_weights(model: str, precision: str, tmp_path: Path) -> None:
    """Of three runs only that which is killed has a process of its own: starting one takes as long as training."""
    straight, killed, settings = tmp_path / "straight", tmp_path / "killed", LONG | {"precision": precision}
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, model, str(killed), repr(settings)])
    deadline = time.monotonic() + 100
    while not (killed / "checkpoints" / "last").is_file():
        assert process.poll() is None, "ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the kill came too late to count"
    ms.train(model, out=straight, **settings)
    begun: list[int] = []
    listen = Hooks(listeners=[lambda event: begun.append(event.clock.step) if isinstance(event, Resumed) else None])
    ms.train(model, out=killed, hooks=listen, **settings)
    assert len(begun) == 1 and 0 < begun[0] < STEPS, "the kill came too late to count"
    assert weights(killed) == weights(straight)


# -- within one process ----------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {
    "data": "digits",
    "images": 320,
    "batch_size": 32,
    "report_images": 96,  # reports and checkpoints out of step
    "checkpoint_images": 128,
    "keep": 2,
    "tower": "mlp",
    "widths": (8,),
    "latent_dim": 2,
    "device": "cpu",
    "precision": "fp32",
}


def train(out: Path, *listeners: Listener, say: Callable[[str], None] | None = None, **more: Any) -> ms.Run:
    return ms.train("vae", out=out, hooks=Hooks(listeners=listeners, say=say), **{**QUICK, **more})


def signals_at(*moments: int) -> Listener:
    """Send SIGTERM after so many images, once each."""
    left = set(moments)

    def listen(event: Event) -> None:
        if isinstance(event, Progressed) and event.clock.images in left:
            left.discard(event.clock.images)
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, as in the figures of docs/reliability.md."""
    out = tmp_path_factory.mktemp("straight") / "r"
    train(out)
    return out


def test_lines_of_a_run_killed_before_its_first_checkpoint_are_written_once(straight: Path, tmp_path: Path) -> None:
    def killed(event: Event) -> None:
        if isinstance(event, Reported):
            raise RuntimeError

    for _ in range(2):
        with pytest.raises(RuntimeError):
            train(tmp_path / "r", killed)
    train(tmp_path / "r")
    assert not differences(files_of(straight), files_of(tmp_path / "r"))


def test_a_run_that_signals_interrupted_ends_with_the_same_files(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same log, pictures and checkpoints too: what was recorded at a signal goes when the run continues."""
    monkeypatch.setattr("morphospace.training.engine.PROGRESS_SECONDS", -1.0)
    out, signalled = tmp_path / "r", signals_at(32, 224)
    train(out, signalled)
    assert (out / "samples" / f"{64:012d}.png").is_file()  # to look at meanwhile
    assert [line["due"] for line in RunFolder.open(out).read_metrics()] == [False, False]
    assert "due" not in last_values(RunFolder.open(out).read_metrics())  # it is no number to show
    train(out, signalled)
    kept = [path.name for path in sorted((out / "checkpoints").iterdir())]
    assert kept == [f"{images:012d}" for images in (128, 256)] + ["best", "last"]  # one was due at the signal's step
    train(out, signalled)
    assert not differences(files_of(straight), files_of(out))


def test_pictures_that_a_kill_left_undrawn_are_drawn_on_resume(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    shutil.copytree(straight, out)
    for folder in ("samples", "reconstructions"):
        (out / folder / f"{320:012d}.png").unlink()
    train(out)
    assert not differences(files_of(straight), files_of(out))


def test_folders_that_are_removed_while_it_trains_are_made_again(straight: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "r"

    def removes(event: Event) -> None:
        if isinstance(event, Checkpointed) and event.clock.images == 128:
            for folder in folders:
                (out / folder).rename(tmp_path / folder)  # at once: TensorBoard's thread may write meanwhile

    folders = ("tensorboard", "samples", "reconstructions", "checkpoints")
    train(out, removes, say=said.append)
    for folder in folders:
        assert list((out / folder).iterdir())
        assert len([line for line in said if str(out / folder) in line and "removed" in line]) == 1
    assert weights_of(out) == weights_of(straight)


def weights_of(out: Path) -> dict[str, str]:
    return {name: value for name, value in files_of(out / "checkpoints").items() if name.endswith(".safetensors")}


def test_a_resume_under_other_conditions_says_so_or_is_refused(straight: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "r"
    shutil.copytree(straight, out)
    train(out, say=said.append, exact=True, images=352)  # as before: nothing to say, nothing to refuse
    assert not any("byte for byte" in line for line in said)
    state = out / "checkpoints" / f"{352:012d}" / "state.json"
    saved = json.loads(state.read_text())
    others = {"threads": 64, "world": 2, "precision": "bf16", "device": "a GPU", "torch": "1.0", "instructions": "AVX2"}
    state.write_text(json.dumps({**saved, **others}))
    before = files_of(out)
    with pytest.raises(SettingError, match=r"exact = True: .*threads \d+, was 64.*byte for byte") as refused:
        train(out, exact=True, images=384)
    words = str(refused.value)
    assert all(f"{name} " in words for name in ("processes", "precision", "device", "torch", "CPU instructions"))
    assert files_of(out) == before
    train(out, say=said.append, exact=False, images=384)  # which is the run's own until a call names another
    assert len([line for line in said if "processes 1, was 2" in line and "byte for byte" in line]) == 1


@pytest.mark.parametrize("lost", ["missing", "dangling", "nonsense", "broken"])
def test_without_last_the_newest_whole_checkpoint_is_taken(lost: str, straight: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out, images = tmp_path / "r", 320
    shutil.copytree(straight, out)
    last, newest = out / "checkpoints" / "last", out / "checkpoints" / f"{320:012d}"
    if lost == "missing":
        last.unlink()
    elif lost == "broken":
        images = 256
        with (newest / "optimizer.safetensors").open("rb+") as file:
            file.truncate(100)
    else:
        last.write_text("000000000999" if lost == "dangling" else "../../x")
    if lost != "broken":
        assert ms.load(out, checkpoint="last").images == 320
    train(out, say=said.append)
    (line,) = [line for line in said if "continues from image" in line]
    assert f"from image {images}" in line and ("last" in line or lost == "broken")
    assert not differences(files_of(straight), files_of(out))


def test_where_no_checkpoint_is_whole_there_is_a_way_out(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    shutil.copytree(straight, out)
    for path in (out / "checkpoints").glob("*/state.json"):
        path.unlink()
    with pytest.raises(RunError, match=r"delete .* to train from the start"):
        train(out)
    with pytest.raises(RunError, match=r"none is whole .* delete .* to train from the start"):
        latest(out / "checkpoints", lambda line: None)
    shutil.rmtree(out / "checkpoints")
    train(out)
    assert not differences(files_of(straight), files_of(out))


def test_a_run_that_was_killed_while_it_was_born_goes_on(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    out.mkdir()
    (out / ".run.partial-12.toml").write_text("[mod")
    train(out)
    assert not differences(files_of(straight), files_of(out))


def test_what_a_kill_left_in_the_run_is_swept(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    shutil.copytree(straight, out)
    for place in (".curves.partial-12.png", "samples/.x.partial-12.png", "checkpoints/.last.partial-12"):
        (out / place).touch()
    (out / "checkpoints" / ".partial-12").mkdir()
    (out / "checkpoints" / f"{128:012d}").mkdir()  # being removed when it was killed
    train(out)
    assert not differences(files_of(straight), files_of(out))


class Spoiled(torch.nn.Module):
    """A decoder whose gradient is NaN from its fifth call in training on; its images stay finite."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = torch.nn.Linear(2, 64), 0

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        images = self.layer(z).sigmoid().reshape(-1, 1, 8, 8)
        return images + (0 * images).sqrt() if self.calls >= 5 else images


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_is_neither_saved_nor_logged_as_a_number(clip: float, tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    with pytest.raises(TrainingError, match="vae/gradient_norm is nan"):
        train(tmp_path / "r", parts={"decoder": Spoiled()}, clip=clip, checkpoint_images=64)
    run = RunFolder.open(tmp_path / "r")
    for file in run.checkpoints.glob("*/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())
    assert (run.checkpoints / "last").read_text() == f"{128:012d}"
    lines = [json.loads(line, parse_constant=refuse) for line in run.metrics.read_text().splitlines()]
    assert lines[-1]["vae/gradient_norm"] is None
    assert math.isnan(run.read_metrics()[-1]["vae/gradient_norm"])
