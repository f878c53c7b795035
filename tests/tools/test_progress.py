"""What long work shows, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

import morphospace as ms
from morphospace.cli.talk import Talk
from morphospace.objectives.clock import Clock
from morphospace.tools.train import progress
from morphospace.tools.train.announce import Announcer, Silence
from morphospace.tools.train.progress import Watch, clock_time
from morphospace.training.events import Checkpointed, Event, Finished, Progressed, Reported, Resumed, State, Validated

TERMS = {"vae/reconstruction": 121.31, "vae/kl": 18.2}


class Stream(io.StringIO):
    terminal = False

    def isatty(self) -> bool:
        return self.terminal


class Heard(Talk):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.heard = Stream()
        self.heard.terminal = terminal

    @property
    def stream(self) -> Stream:  # type: ignore[override]
        return self.heard

    def say(self, line: str) -> None:
        self.heard.write(line + "\n")


EVENTS: list[Event] = [
    Resumed(Clock(100, 12_000, 0.2)),
    Reported(Clock(107, 12_800, 0.21), 3.0, 3400.0, TERMS, 60_000),
    Validated(Clock(107, 12_800, 0.21), {"vae/kl": 18.0}, 139.5),
    Checkpointed(Clock(107, 12_800, 0.21), State({}, {}), True),
    Reported(Clock(200, 60_000, 1.0), 9.0, 3000.0, TERMS, 60_000),
    Finished(Clock(200, 60_000, 1.0), "SIGTERM"),
]


def shown(*, terminal: bool) -> tuple[Watch, str]:
    talk = Heard(terminal=terminal)
    watch = Watch(talk, ["vae: 5 parameters"])
    for event in EVENTS:
        watch(event)
    return watch, talk.heard.getvalue()


def test_plain_lines() -> None:
    watch, text = shown(terminal=False)
    assert text.splitlines() == [
        "vae: 5 parameters",
        "resumed at step 100",
        "  12,800/60,000 images  21%  3,400/s  vae/reconstruction 121.3  vae/kl 18.2  left 0:14",
        "held out: loss 139.5  vae/kl 18",
        "  60,000/60,000 images  100%  7,867/s  vae/reconstruction 121.3  vae/kl 18.2  left 0:00",
    ]
    assert (watch.images, watch.saved, watch.resumed_at) == (60_000, 12_800, 100)
    assert (watch.stopped, watch.valid_loss, watch.terms) == ("SIGTERM", 139.5, TERMS)


def test_terminal_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    _, text = shown(terminal=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    for words in ("vae: 5 parameters", "resumed at step 100", "held out: loss 139.5", "60,000/60,000 images", "100%"):
        assert words in plain
    assert "7,867/s" in plain and "left 0:00" in plain and "vae/reconstruction 121.3" in plain


def test_plain_lines_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    talk = Heard(terminal=False)
    watch = Watch(talk)
    for i in range(1, 101):
        now[0] += 0.1
        watch(Reported(Clock(i, i, 0.0), 0.0, 1.0, {}, 100))
    lines = talk.heard.getvalue().splitlines()
    assert 8 <= len(lines) <= 13
    assert lines[-1].startswith("  100/100 images  100%")


def test_a_slow_model_gives_signs_of_life_before_its_first_report(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    talk = Heard(terminal=False)
    watch = Watch(talk)
    for i in range(1, 31):
        now[0] += 1.0
        watch(Progressed(Clock(i, i, 0.0), 60.0 + i, 100))  # the first image took a minute
    assert talk.heard.getvalue().splitlines() == [
        "  1/100 images  1%  left ?",
        *(f"  {i}/100 images  {i}%  1/s  left {clock_time(100 - i)}" for i in (11, 21)),
    ]


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    """On a GPU, where the first steps take a hundred times as long as the others."""
    watch = Watch(Heard(terminal=False))
    rates = []
    for seconds, images in ((1.0, 32), (2.0, 64), *((2.0 + i, 64 + 1000 * i) for i in range(1, 15))):
        watch.images = images
        rates.append(watch._recent_rate(seconds))
    assert rates[:3] == [0.0, 32.0, pytest.approx(516)]
    assert rates[-1] == 1000.0
    watch.images = 0
    assert Watch(Heard(terminal=False))._recent_rate(5.0) == 0.0


def test_packing() -> None:
    talk = Heard(terminal=False)
    watch = Watch(talk)
    watch.packing(512, 1024)
    watch.packing(1024, 1024)
    assert [line.split("%")[0] for line in talk.heard.getvalue().splitlines()] == [
        "  packing 512/1,024 images  50",
        "  packing 1,024/1,024 images  100",
    ]


def test_durations() -> None:
    assert [clock_time(s) for s in (0, 59.6, 3600, 90_061)] == ["0:00", "1:00", "1:00:00", "25:01:01"]


def test_python_says_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(name: str, **how: Any) -> list[str]:
        brief: dict[str, Any] = {
            "images": 640,
            "report_images": 64,
            "widths": (8,),
            "device": "cpu",
        }
        ms.train("vae", data="digits", out=tmp_path / name, **brief, **how)
        return capsys.readouterr().out.splitlines()

    said = train("run")
    assert [line for line in said if "packing" not in line] == [
        f"vae on digits, 1,437 images of 8x8x1: {tmp_path / 'run'}",
        next(line for line in said if re.match(r"  [\d,]+/640 images  \d+%  [\d,]+/s  vae/loss ", line)),
        said[-1],
    ]
    assert re.match(r"trained in 0:\d\d, held-out loss [\d.]+: vae of digits, ", said[-1])
    assert train("quiet", quiet=True) == train("hooks", hooks=ms.Hooks()) == []
    ms.resume(tmp_path / "run", images=700)
    assert capsys.readouterr().out.splitlines()[-1].startswith("trained in ")
    ms.resume(tmp_path / "run", images=800, quiet=True)
    assert not capsys.readouterr().out


def test_of_several_processes_one_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert isinstance(Announcer(tmp_path, quiet=False).talk, Silence)
