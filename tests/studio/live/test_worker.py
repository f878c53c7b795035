"""When a run trains, shows itself and ends."""

from __future__ import annotations

import json
import queue
import time
from typing import Any

import pytest

from morphospace.studio.live import worker as workers
from morphospace.studio.live.frames import unpacked
from morphospace.studio.live.worker import AHEAD, Trainer, Worker

MAKE = {"kind": "make", "gan": "dcgan", "data": "ring", "batch": 8, "settings": {"widths": [8]}}


@pytest.fixture
def frames() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def worker(frames: list[dict[str, Any]]) -> Worker:
    made = Worker(lambda frame: frames.append(unpacked(frame)[0]))
    tell(made, **MAKE, run=7)
    return made


def tell(worker: Worker, **message: Any) -> None:
    worker.hear(json.dumps(message))


def taken(worker: Worker) -> Trainer:
    """The first picture, whose page draws every frame."""
    tell(worker, kind="took")
    return worker.pictures[0]


def test_it_trains_to_the_step_asked_for_and_says_whose_frame_it_is(worker: Worker, frames: list[Any]) -> None:
    assert [(frame["steps"], frame["run"], frame["picture"]) for frame in frames] == [(0, 7, 0)]
    tell(worker, kind="go", until=5)
    while taken(worker).work(10**6):
        pass
    assert frames[-1]["steps"] == 5
    tell(worker, kind="turn", player="critic")
    assert frames[-1]["turn"] == "critic" and frames[-1]["steps"] == 5
    tell(worker, kind="turn", player="generator")
    tell(worker, kind="turn")
    assert frames[-1]["steps"] == 7 and frames[-1]["measured"]
    tell(worker, **MAKE, run=8)
    assert (frames[-1]["steps"], frames[-1]["run"]) == (0, 8)
    tell(worker, kind="close")
    tell(worker, kind="go", until=5)
    assert not worker.pictures[0].work(10**6)


def test_a_page_that_draws_nothing_is_not_trained_for(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    tell(worker, kind="go", until=10**6)
    assert not worker.pictures[0].work(10**6) and worker.pictures[0].run.steps == 0  # type: ignore[union-attr]
    assert taken(worker).work(10**6) and worker.pictures[0].run.steps > 0  # type: ignore[union-attr]


def test_a_run_ends_by_itself_says_so_and_goes_on_when_asked(
    worker: Worker, frames: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_SECONDS", 0.0)
    tell(worker, kind="go", until=10**6)
    assert taken(worker).work(10**6) and not taken(worker).work(10**6)
    assert "has ended after 10 minutes" in frames[-1]["ended"] and frames[-1]["measured"]
    monkeypatch.setattr(workers, "MOST_SECONDS", 60.0)
    tell(worker, kind="go", until=10**6)
    assert taken(worker).work(10**6) and worker.pictures[0].going and not worker.pictures[0].ended


def test_frames_take_a_small_share_of_the_time(worker: Worker, frames: list[Any]) -> None:
    picture = taken(worker)
    tell(worker, kind="go", until=10**6)
    before = time.process_time()
    picture.show(measure=True)
    cost = time.process_time() - before
    assert 0 < picture.paid - time.process_time() <= cost / workers.FRAMES_SHARE
    assert picture.due - picture.sent <= workers.FRAME
    taken(worker)
    for due, paid, count in ((60.0, 0.0, 2), (0.0, 60.0, 2), (0.0, 0.0, 3), (0.0, 0.0, 3)):
        picture.due = time.perf_counter() + due if due else 0.0  # too soon
        picture.paid = time.process_time() + paid if paid else 0.0  # too dear
        assert picture.work(10**6) and len(frames) == count
        if count == 3:
            assert picture.waiting  # the page has not drawn it, so no other is sent


def test_two_pictures_keep_in_step(worker: Worker) -> None:
    tell(worker, **{**MAKE, "settings": {"widths": [64, 64], "turns": 8}}, picture=1)
    for picture in (0, 1):
        tell(worker, kind="go", until=10**6, picture=picture)
    one, two = worker.pictures
    for _ in range(10):
        for picture in (0, 1):
            tell(worker, kind="took", picture=picture)
        worker.train()
        assert one.run and two.run and abs(one.run.steps - two.run.steps) <= AHEAD
    assert two.run and two.run.steps > 0


def test_what_cannot_be_made_is_said_and_the_next_works(worker: Worker, frames: list[Any]) -> None:
    tell(worker, kind="make", gan="dcgan", data="own", own="", run=3)
    assert "own" in frames[-1]["refused"] and frames[-1]["run"] == 3
    tell(worker, **MAKE)
    assert frames[-1]["steps"] == 0


def test_a_process_that_nobody_asks_for_anything_ends(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "REST", 0.0)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    lines.put(json.dumps({"kind": "halt"}))
    worker.serve(lines)
