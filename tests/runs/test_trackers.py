"""Trackers follow a training run, go on with it, and never end it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import MissingExtra
from morphospace.runs import trackers
from morphospace.runs.report import sampled_from
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Checkpointed, Event
from tests.conftest import draw_blobs

SMALL: dict[str, Any] = {"widths": (8,), "latent_dim": 3, "batch_size": 32, "report_images": 64}
SCORED: dict[str, Any] = {"metrics": "fd", "metrics_features": "pixels", "metrics_n": 40, "valid": 0.5}
BLOBS = draw_blobs(96, (8, 8, 1))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with all trackers, stopped by a signal after 128 images and continued, without a network."""
    folder, said = tmp_path_factory.mktemp("tracked"), list[str]()
    environment = {
        "WANDB_MODE": "offline",
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(),
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)

    def refuse(_: Any, address: Any) -> None:
        raise AssertionError(f"asked {address}")

    connect = socket.socket.connect
    socket.socket.connect = lambda own, to: connect(own, to) if local(to) else refuse(own, to)  # type: ignore[assignment,method-assign,return-value]

    def stop(event: Event) -> None:
        if isinstance(event, Checkpointed) and event.clock.images == 128:
            os.kill(os.getpid(), 2)

    off_prior = {"beta": 0.0, "lr": 0.05}  # so that the last samples are drawn anew
    how: dict[str, Any] = {**SMALL, **SCORED, **off_prior, "images": 256, "checkpoint_images": 128, "keep": 9}
    try:
        for listeners in ([stop], []):
            hooks = Hooks(listeners=listeners, say=said.append)
            ms.train("vae", BLOBS, folder / "run", track="tensorboard,wandb,mlflow", hooks=hooks, **how)
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return folder / "run", said


def local(address: Any) -> bool:
    """Return whether an address is on this machine: W&B talks to a process of its own."""
    return isinstance(address, str) or address[0] in ("127.0.0.1", "::1", "localhost")


def test_mlflow_has_every_number_and_picture_of_one_run(tracked: tuple[Path, list[str]]) -> None:
    mlflow = pytest.importorskip("mlflow")
    path, _ = tracked
    client = mlflow.MlflowClient((path.parent / "mlruns").as_uri())
    (experiment,) = [one for one in client.search_experiments() if one.name == "morphospace"]
    (run,) = client.search_runs([experiment.experiment_id])  # the continued run is the same one
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.params["model.latent_dim"] == "3" and run.data.params["run.data"] == "dataset"
    assert not [value for value in run.data.params.values() if str(path.parent) in value]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for name in ("vae/loss", "valid/loss", "metric/fd"):
        logged = {one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}
        assert logged == {line["images"]: line[name] for line in lines if name in line}
        assert max(logged) == 256
    best = json.loads((path / "best.json").read_text())
    assert run.data.metrics["final/fd"] == best["report"]["fd"]["value"]
    for kind in ("samples", "reconstructions"):
        names = [Path(one.path).name for one in client.list_artifacts(run.info.run_id, kind)]
        assert names == sorted(file.name for file in (path / kind).glob("*.png"))


def test_wandb_writes_beside_the_run_and_goes_on_with_the_same_one(tracked: tuple[Path, list[str]]) -> None:
    pytest.importorskip("wandb")
    path, said = tracked
    files = sorted((path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2 and len({file.name for file in files}) == 1
    assert json.loads((path / "trackers.json").read_text())["wandb"] == files[0].stem.removeprefix("run-")
    (line,) = {line for line in said if line.startswith("wandb: ")}
    assert line == f"wandb: offline, in {path / 'wandb'}"
    rows, pictures = history(files)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for name in ("vae/loss", "valid/loss", "metric/fd"):
        assert rows[name] == {line["images"]: pytest.approx(line[name]) for line in lines if name in line}
    assert list(rows["final/fd"]) == [256] and pictures == {"samples", "reconstructions"}
    assert not [file for file in files if socket.gethostname().encode() in file.read_bytes()]


def history(files: list[Path]) -> tuple[dict[str, dict[int, float]], set[str]]:
    """Return what W&B's own files hold: numbers by name and image, and the names of pictures."""
    from wandb.proto.wandb_internal_pb2 import Record

    numbers: dict[str, dict[int, float]] = {}
    pictures: set[str] = set()
    for record in map(Record.FromString, (data for file in files for data in records(file.read_bytes()))):
        items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for name, value in items.items():
            if name.partition(".")[0] in ("samples", "reconstructions"):
                pictures.add(name.partition(".")[0])
            elif "images" in items:
                numbers.setdefault(name, {})[items["images"]] = value
    return numbers, pictures


def records(content: bytes) -> Iterator[bytes]:
    """Read a log of LevelDB's form: a header of 7 bytes, then blocks of 32 KB with parts of records."""
    at, whole = 7, b""
    while at + 7 <= len(content):
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        at += (rest := -at % 32_768) * (rest < 7)
        if kind in (1, 4):
            yield whole
            whole = b""


def test_tensorboard_has_numbers_settings_and_pictures(tracked: tuple[Path, list[str]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, _ = tracked
    board = EventAccumulator(str(path / "tensorboard"), size_guidance={"images": 0, "scalars": 0}).Reload()
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    logged = {one.step: one.value for one in board.Scalars("vae/loss")}
    assert logged == {line["images"]: pytest.approx(line["vae/loss"]) for line in lines if "vae/loss" in line}
    assert sampled_from(path / "samples")
    shown = {one.step: one.encoded_image_string for one in board.Images("samples")}
    assert shown == {int(file.stem): file.read_bytes() for file in (path / "samples").glob("*.png")}
    assert b'"latent_dim": 3' in board.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


class Broken:
    """A tracker whose server goes away."""

    id, where = "", "http://127.0.0.1:9"

    def __init__(self, *about: object) -> None:
        self.calls = 0

    def numbers(self, values: object, images: int) -> None:
        raise ConnectionError("no route\nto host")

    picture = end = numbers


@pytest.mark.parametrize("when", ["numbers", "begin"])
def test_a_tracker_that_fails_is_said_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def refuse(*about: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", Broken if when == "numbers" else refuse)  # type: ignore[arg-type]
    said: list[str] = []
    for name, track in (("plain", ()), ("tracked", ("mlflow", "mlflow"))):
        ms.train("vae", BLOBS, tmp_path / name, images=64, track=track, hooks=Hooks(say=said.append), **SMALL)
    weights = [next((tmp_path / name).rglob("model.safetensors")).read_bytes() for name in ("plain", "tracked")]
    assert weights[0] == weights[1] and not (tmp_path / "plain" / "tensorboard").exists()
    wrong = [line for line in said if "no route" in line]
    assert wrong == ["mlflow: no route to host; training goes on, and mlflow gets nothing more"]


def test_a_missing_package_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else name)
    wanted = r"track = 'wandb': needs wandb; pip install 'morphospace\[track\]', or leave it out"
    with pytest.raises(MissingExtra, match=wanted):
        ms.train("vae", BLOBS, tmp_path / "run", images=64, track="wandb", **SMALL)
    words = ["train", "vae", "--data", "digits", "--out", str(tmp_path / "run"), "--track", "wandb"]
    for more in ([], ["--dry-run"]):
        assert main([*words, *more]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main([*words[:-1], "comet"]) == 2
    assert "tensorboard" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
