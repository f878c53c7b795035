"""What training writes is told once, whole lines only, and as JSON that a browser reads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from morphospace.runs.configuration import resolve
from morphospace.runs.folder import RunFolder
from morphospace.studio.loaded_runs import LoadedRuns
from morphospace.studio.training_events import Broadcast, FolderWatcher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    facts = {"data": "digits", "data_hash": "", "data_given": False, "shape": [8, 8, 1], "custom": []}
    RunFolder.create(tmp_path, resolve("vae"), facts)
    (tmp_path / "samples").mkdir(exist_ok=True)
    (tmp_path / "metrics.jsonl").write_text('{"images": 1}\n')
    (tmp_path / "samples" / "000000000001.png").touch()
    return tmp_path


def write(folder: Path, text: str) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(text)


def checkpoint(folder: Path, images: int) -> None:
    made = folder / "checkpoints" / f"{images:012d}"
    made.mkdir(parents=True)
    (made / "state.json").touch()
    (folder / "checkpoints" / "last").write_text(made.name)


def test_only_what_came_since_is_told(folder: Path) -> None:
    watcher = FolderWatcher(LoadedRuns([folder]))
    assert watcher.latest() == []
    write(folder, '{"images": 2, "a/b": 0.5}\n{"images": 3, "a/b"')
    (folder / "samples" / "000000000002.png").touch()
    checkpoint(folder, 2)
    assert watcher.latest() == [
        {"kind": "report", "run": "r0", "images": 2, "a/b": 0.5},
        {"kind": "samples", "run": "r0", "images": 2},
        {"kind": "checkpoint", "run": "r0", "images": 2},
    ]
    assert watcher.latest() == []
    write(folder, ': NaN}\nnonsense\n[1]\n{"kind": "x", "run": "r9", "images": 4}\n')
    assert watcher.latest() == [
        {"kind": "report", "run": "r0", "images": 3, "a/b": None},
        {"kind": "report", "run": "r0", "images": 4},
    ]


def test_a_run_begun_anew_or_deleted_is_no_trouble(folder: Path) -> None:
    watcher = FolderWatcher(LoadedRuns([folder]))
    (folder / "metrics.jsonl").write_text("")
    assert watcher.latest() == []
    write(folder, '{"images": 1}\n')
    assert [event["images"] for event in watcher.latest()] == [1]
    (folder / "metrics.jsonl").unlink()
    assert watcher.latest() == []


def test_a_run_that_begins_later_is_told_and_then_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("morphospace.studio.loaded_runs.LOOK_SECONDS", 0.0)
    there = [folder]
    runs = LoadedRuns([folder], find=lambda: there)
    watcher = FolderWatcher(runs)
    assert watcher.latest() == []
    later = tmp_path / "later"
    facts = {"data": "digits", "data_hash": "", "data_given": False, "shape": [8, 8, 1], "custom": []}
    RunFolder.create(later, resolve("vae"), facts)
    there.append(later)
    assert watcher.latest() == [{"kind": "runs"}] and runs.names["r1"] == "later"
    write(later, '{"images": 5}\n')
    assert watcher.latest() == [{"kind": "report", "run": "r1", "images": 5}]


def test_one_look_serves_all_who_read_and_ends_with_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphospace.studio.training_events.EVERY", 0.01)
    looks: list[FolderWatcher] = []

    def start() -> FolderWatcher:
        looks.append(FolderWatcher(LoadedRuns([folder])))
        return looks[-1]

    async def scene() -> None:
        board = Broadcast(start)
        readers = [board.read() for _ in range(3)]
        assert {await anext(reader) for reader in readers} == {"retry: 2000\n\n"}
        while not looks:
            await asyncio.sleep(0.01)
        write(folder, '{"images": 9}\n')
        texts = [await asyncio.wait_for(anext(reader), 10) for reader in readers]
        assert {json.loads(text.removeprefix("data: "))["images"] for text in texts} == {9}
        assert all(text.endswith("\n\n") for text in texts) and len(looks) == 1
        for reader in readers:
            await reader.aclose()
        assert board._looking is None

    asyncio.run(scene())
