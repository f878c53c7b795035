"""A run folder of a stranger leads nowhere: no link is followed, no pipe waited for, nothing allocated on its word."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import DataError, MorphospaceError, RunError, SettingError
from morphospace.files import open_plain, read_bytes
from morphospace.runs.folder import RunFolder
from morphospace.runs.report import write_report
from morphospace.runs.run import load

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run."""
    out = tmp_path_factory.mktemp("runs") / "r"
    ms.train("vae", "digits", out, tower="mlp", widths=(8,), latent_dim=2, size="8", images=64, batch_size=32)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "r"))


@pytest.mark.parametrize("name", [".lock", "best.json", "metrics.jsonl", "run.toml", "evaluation.json"])
@pytest.mark.parametrize("how", ["link", "pipe"])
def test_a_link_or_pipe_is_no_file_of_a_run(run: Path, name: str, how: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (run / name).unlink(missing_ok=True)
    if how == "link":
        (run / name).symlink_to(victim)
    else:
        os.mkfifo(run / name)
    with pytest.raises(RunError, match=f"its {name} is a link or no plain file"):
        RunFolder.open(run)
    assert victim.read_text() == "mine"


def test_checkpoints_elsewhere_are_neither_read_nor_removed(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "checkpoints", tmp_path / "elsewhere")
    (run / "checkpoints").symlink_to(tmp_path / "elsewhere")
    before = sorted(file.name for file in (tmp_path / "elsewhere").iterdir())
    with pytest.raises(RunError, match="its checkpoints is a link"):
        ms.resume(run, images=96)
    assert sorted(file.name for file in (tmp_path / "elsewhere").iterdir()) == before


def test_a_folder_that_is_a_link_as_a_whole_is_a_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run)
    assert load(tmp_path / "latest").images == 64


def test_settings_are_compared_with_the_weights_before_a_model_is_made(run: Path) -> None:
    file = run / "run.toml"
    file.write_text(file.read_text().replace("widths = [\n    8,\n]", "widths = [60000, 60000, 60000, 60000]"))
    assert "60000" in file.read_text()
    with pytest.raises(RunError, match=r"weights of this model|has shape"):
        load(run)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("state.json", '{"step": "x", "images": 64, "files": {}}'),
        ("state.json", '{"step": 1, "images": 64, "files": {"../../run.toml": 3}}'),
        ("state.json", "[" * 100_000),
        ("last", "١٢٣"),
        ("last", "../../.."),
        ("best", "9" * 40),
        ("best.json", '{"checkpoint": "x"}'),
        ("metrics.jsonl", '{"step": 1, "images": "x"}\n'),
        ("run.toml", "x = " + "[" * 3000),
    ],
)
def test_a_file_of_another_type_is_named(run: Path, name: str, text: str) -> None:
    for place in [*run.rglob(name)] or [run / name]:
        place.write_text(text)
    why = ""
    try:
        folder = RunFolder.open(run)
        folder.read_best()
        folder.read_metrics()
        load(run)
    except MorphospaceError as error:
        why = str(error)
    assert "\n" not in why
    assert why or name in ("last", "best")  # where one is lost, the other is taken


def test_a_report_shows_names_and_runs_none(run: Path) -> None:
    entry = {"name": SCRIPT, "value": 1.0, "low": None, "high": None, "unit": SCRIPT, "conditions": {"split": SCRIPT}}
    best = {"checkpoint": 64, "by": SCRIPT, "better": "lower", "selection": {SCRIPT: entry}, "report": {SCRIPT: entry}}
    (run / "best.json").write_text(json.dumps(best))
    page = write_report(RunFolder.open(run)).read_text()
    assert SCRIPT not in page and "&lt;script&gt;" in page and "Content-Security-Policy" in page


def test_a_run_names_no_server_to_ask(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    def refuse(*about: object) -> None:
        raise AssertionError(f"asked {about}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    file = run / "run.toml"
    text = file.read_text()
    for data in ("wds:http://127.0.0.1:9/x.tar", "hub:a/b", "mnist"):
        file.write_text(
            "".join(f'data = "{data}"\n' if l.startswith("data = ") else f"{l}\n" for l in text.splitlines())
        )
        with pytest.raises((RunError, DataError), match=r"may not name a server|are not any more|not the run"):
            _ = load(run).pack


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    assert read_bytes(tmp_path / "a") == read_bytes(tmp_path / "link", links=True) == b"x" * 100
    for name in ("link", "pipe"):
        for mode in ("rb", "ab", "lock"):
            with pytest.raises(OSError, match="is a link or no plain file"):
                open_plain(tmp_path / name, mode)
    with pytest.raises(OSError, match="more than 0 MB"):
        read_bytes(tmp_path / "a", 10)


def test_large_labels_number_no_classes() -> None:
    import numpy as np

    from morphospace.data.checkup import check_pack
    from morphospace.data.pack import class_count

    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
    split = Split(images, labels=np.array([0, 2**62, 2**62]))
    assert class_count(split) == 0
    found = check_pack(in_memory_pack("x", split))
    assert found.splits["train"].classes == {"0": 1, str(2**62): 2}
    assert any("number no classes" in line for line in found.remarks)


class Asked(Exception):
    """A server was asked."""


def asks(*_: object, **__: object) -> None:
    raise Asked


def stranger(run: Path, old: str, new: str) -> None:
    """Change a line of a run's settings."""
    file = run / "run.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_a_run_that_goes_on_asks_no_server_for_its_images(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "wds:http://images.example/a.tar"
    stranger(run, f'data = "{RunFolder.open(run).configuration.data.data}"', f'data = "{address}"')
    monkeypatch.setattr("socket.socket.connect", asks)
    monkeypatch.setattr("socket.getaddrinfo", asks)
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(run.parent / "empty"))
    with pytest.raises(DataError, match="a run may not name a server to ask; name it yourself, with --data"):
        ms.resume(run, images=96)
    with pytest.raises(Asked):
        ms.resume(run, images=96, data=address)


def test_a_run_that_goes_on_asks_no_server_for_features(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger(run, 'metrics_features = ""', 'metrics_features = "inception"')
    stranger(run, "metrics = []", 'metrics = ["fd"]')
    stranger(run, "valid = 0.05", "valid = 0.2")
    monkeypatch.setattr("morphospace.tools.evaluate.extractors.download", asks)
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(run.parent / "empty"))
    with pytest.raises(SettingError, match="metrics_features = 'inception': is not here, and a run may not name"):
        ms.resume(run, images=96)
