"""Checkpoints are whole or refused, and never run anything."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from morphospace.errors import RunError
from morphospace.files import write_text
from morphospace.runs import checkpoints
from morphospace.runs.checkpoints import load_checkpoint, pointed, save_checkpoint
from morphospace.training.events import State


def state(images: int, value: float = 1.0) -> State:
    kernel = torch.full((2, 3, 4, 4), value).to(memory_format=torch.channels_last)
    return State({"model": {"kernel": kernel, "scalar": torch.tensor(value)}}, {"step": images // 10, "images": images})


def test_round_trip_of_any_layout(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(10), best=True, keep=1)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.tensors["model"]["kernel"], state(10).tensors["model"]["kernel"])
    assert loaded.numbers["step"] == 1
    assert pointed(tmp_path, "last") == pointed(tmp_path, "best") == pointed(tmp_path, "10") == path


def test_a_kill_between_its_two_names_leaves_the_one_before_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, state(10), best=True, keep=1)
    from morphospace.runs import checkpoints

    def killed(path: Path, text: str) -> None:
        if path.name == "last":
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(checkpoints, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, state(20), best=True, keep=1)
    assert [pointed(tmp_path, name).name for name in ("last", "best")] == [f"{10:012d}", f"{20:012d}"]


def test_the_latest_and_the_best_stay(tmp_path: Path) -> None:
    for images in (10, 20, 30, 40):
        save_checkpoint(tmp_path, state(images), best=images == 20, keep=2)
    assert sorted(int(p.name) for p in tmp_path.glob("[0-9]*")) == [20, 30, 40]
    assert pointed(tmp_path, "best").name.endswith("20")


@pytest.mark.parametrize("damage", ["cut", "grown", "pickle", "missing", "json", "no-json"])
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(10), best=False, keep=1)
    file = path / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "grown":
        file.write_bytes(file.read_bytes() + b"x")
    elif damage == "pickle":
        file.write_bytes(pickle.dumps({"kernel": [1, 2, 3]}).ljust(file.stat().st_size, b"\0"))
    elif damage == "missing":
        file.unlink()
    elif damage == "json":
        (path / "state.json").write_text("{")
    else:
        (path / "state.json").unlink()
    with pytest.raises(RunError) as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = save_checkpoint(tmp_path, state(10), best=False, keep=1)

    def full(path: Path, tensors: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(RunError, match="No space left on device"):
        save_checkpoint(tmp_path, state(20), best=False, keep=1)
    assert pointed(tmp_path, "last") == kept
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([kept.name, "last"])
    assert load_checkpoint(kept).numbers["images"] == 10


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    assert pointed(tmp_path, "last") is None
    path = save_checkpoint(tmp_path, state(10), best=False, keep=1)
    with pytest.raises(RunError, match=r"checkpoint = '20'.*there: 10"):
        pointed(tmp_path, "20")
    for which in ("last", "best"):
        (tmp_path / which).write_text("../../etc")
    assert pointed(tmp_path, "last") == path  # the newest
    with pytest.raises(RunError, match=r"not in .*take another --checkpoint"):
        pointed(tmp_path, "best")
    shutil.rmtree(path)
    with pytest.raises(RunError, match=r"not in .*delete"):
        pointed(tmp_path, "last")


def test_nothing_in_a_checkpoint_is_code(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(10), best=False, keep=1)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
    assert json.loads((path / "state.json").read_text())["files"]["model.safetensors"] > 0


@pytest.mark.parametrize("which", ["²", "soon", "-1"])
def test_a_checkpoint_that_nobody_can_mean(which: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be 'last', 'best' or a number of images"):
        pointed(tmp_path, which)
