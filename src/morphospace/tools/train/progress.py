"""What long work shows while it goes on: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from morphospace.errors import sayable
from morphospace.pictures.display import CellOutput, in_notebook

if TYPE_CHECKING:
    from rich.progress import Progress

    from morphospace.training.events import Event
    from morphospace.training.selection import Score


SECONDS_BETWEEN_LINES = 1.0
SECONDS_BETWEEN_SAME = 10.0  # of lines that tell no new numbers, and of all lines if few are wanted
SECONDS_OF_RATE = 10.0  # of training, over which images/s are counted


def clock_time(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss.

    >>> clock_time(14), clock_time(3700)
    ('0:14', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _with_margin(score: Score) -> str:
    return f"{score.value:.4g}" + (f" +- {score.margin:.2g}" if score.margin else "")


class Bar(Protocol):
    """A bar that redraws itself."""

    def move(self, kind: str, done: int, total: int, fields: Mapping[str, str]) -> None:
        """Show how far a kind of work is; `fields` are `rate`, `left` and `losses`."""

    def say(self, line: str) -> None:
        """Say a line beside the bar."""

    def close(self) -> None:
        """End it."""

    def end(self, line: str) -> None:
        """Say how the work ended, in place of the bar."""


class TerminalBar:
    """A bar at the bottom of a terminal; lines are said above it.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self._kind = stream, ""
        self._bar: Progress | None = None

    def move(self, kind: str, done: int, total: int, fields: Mapping[str, str]) -> None:
        """Show how far a kind of work is."""
        columns: dict[str, Any] = dict(fields)
        if self._bar is None or self._kind != kind:
            self.close()
            self._bar, self._kind = self._made(), kind
            self._bar.add_task(kind, total=total, **columns)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, **columns)

    def say(self, line: str) -> None:
        """Say a line above the bar."""
        if self._bar is None:
            print(sayable(line, self.stream), file=self.stream, flush=True)
        else:
            self._bar.console.print(sayable(line, self.stream), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away; what was said stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def end(self, line: str) -> None:
        """Say how the work ended, in place of the bar."""
        self.close()
        self.say(line)

    def _made(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        return Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} images"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left {task.fields[left]}"),
            # The terms take what width is left, in one line.
            TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=Console(file=self.stream),
            transient=True,
            refresh_per_second=4,
        )


class NotebookBar:
    """A bar in the output of a notebook's cell; its place is taken by how the work ended."""

    every = 0.25  # seconds between two pictures of it

    def __init__(self) -> None:
        self._output: CellOutput | None = None
        self._shown, self._words = 0.0, ""

    def move(self, kind: str, done: int, total: int, fields: Mapping[str, str]) -> None:
        """Show how far a kind of work is."""
        from morphospace.pictures.pages import render

        now = time.monotonic()
        if done < total and now - self._shown < self.every:
            return
        self._shown, self._words = now, _words(kind, done, total, fields)
        self._output = self._output or CellOutput()
        self._output.show(self._words, render("tools/train/bar.html", done=done, total=total, words=self._words))

    def say(self, line: str) -> None:
        """Say a line below the bar."""
        print(sayable(line, sys.stdout), flush=True)

    def close(self) -> None:
        """Leave the words."""
        if self._output is not None:
            self.end(self._words)

    def end(self, line: str) -> None:
        """Say how the work ended, in place of the bar."""
        (self._output or CellOutput()).show(line)
        self._output, self._shown = None, 0.0


class Speaker(Protocol):
    """Where words go."""

    def say(self, line: str) -> None:
        """Say a line."""

    def bar(self) -> Bar | None:
        """Return a bar for long work; None where plain lines say it."""


class Python:
    """Speaks to whoever calls a function from Python: in a notebook, on a terminal, or into a log."""

    def say(self, line: str) -> None:
        """Say a line."""
        print(sayable(line, sys.stdout), flush=True)

    def bar(self) -> Bar | None:
        """Return a bar for long work; None where plain lines say it."""
        if in_notebook():
            return NotebookBar()
        return TerminalBar(sys.stdout) if sys.stdout.isatty() else None


def _words(kind: str, done: int, total: int, fields: Mapping[str, str]) -> str:
    """Return in one line how far a kind of work is."""
    head = "" if kind == "training" else f"{kind} "
    share = f"{head}{done:,}/{total:,} images  {min(100, 100 * done // total)}%"
    return "  ".join(part for part in (share, fields["rate"], fields["losses"], f"left {fields['left']}") if part)


class Watch:
    """Shows packing and training as they go on. It listens to training's events and remembers how it ended.

    Args:
        talk: Where words go.
        opening: Lines to say before anything else, once it is sure that there is something to do.
        few: Say few lines: how far training is, every ten seconds, and not what each validation and score gave.

    Attributes:
        images: Images seen so far.
        saved: Images seen at the last checkpoint.
        terms: The last report's means.
        valid_loss: The last loss on held-out images.
        resumed_at: The step at which a run was taken up again.
        stopped: Why training ended early: the name of a signal, or a reason in words.
    """

    def __init__(self, talk: Speaker, opening: Sequence[str] = (), *, few: bool = False) -> None:
        self.talk, self.opening, self.few = talk, list(opening), few
        self._foretold = list(opening)
        self.images, self.reports, self.saved = 0, 0, 0
        self.terms: Mapping[str, float] = {}
        self.valid_loss: float | None = None
        self.resumed_at: int | None = None
        self.stopped = ""
        self._bar = talk.bar()
        self._kind = ""
        self._moments: list[tuple[int, float]] = []  # images and seconds of training
        self._said = self._began = time.monotonic()

    def opened(self, opening: Sequence[str]) -> None:
        """Take the opening lines as they are with the data open; where the first were said, say what is new in them."""
        if self.opening:
            self.opening = list(opening)
            return
        for line in opening:
            if line not in self._foretold:
                self.say(line)

    # -- packing ---------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Say a line above the bar, if there is one."""
        for said in (*self.opening, line):
            (self.talk if self._bar is None else self._bar).say(said)
        self.opening = []

    def packing(self, done: int, total: int) -> None:
        """Show how many of all images are packed."""
        rate = done / max(time.monotonic() - self._began, 1e-3)
        self._show("packing", done, total, rate, {})
        if done >= total:
            self.close()

    # -- training --------------------------------------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        """Take note of a training event."""
        from morphospace.training import events
        from morphospace.training.events import Checkpointed, Finished, Progressed, Reported, Resumed, Scored, Validated

        self.images = event.clock.images
        if isinstance(event, Resumed):
            self.resumed_at, self.saved = event.clock.step, self.images
            self.say(f"resumed at step {event.clock.step}")
        elif isinstance(event, events.Noted):
            self.say(event.text)
        elif isinstance(event, Progressed):
            rate = self._recent_rate(event.seconds)
            self._show("training", self.images, event.total_images, rate, self.terms, SECONDS_BETWEEN_SAME)
        elif isinstance(event, Reported):
            self.terms, self.reports = event.terms, self.reports + 1
            rate = self._recent_rate(event.seconds) or event.rate
            self._show("training", self.images, event.total_images, rate, event.terms)
        elif isinstance(event, Validated):
            self.valid_loss = event.loss
            parts = "".join(f"  {name} {value:.4g}" for name, value in event.terms.items())
            if not self.few:
                self.say(f"held out: loss {event.loss:.5g}{parts}")
        elif isinstance(event, Scored) and not self.few:
            scores = "".join(f"  {name} {_with_margin(score)}" for name, score in event.scores.items())
            self.say(f"scored:{scores}  in {event.seconds:.1f} s")
        elif isinstance(event, Checkpointed):
            self.saved = self.images
        elif isinstance(event, Finished):
            self.stopped = event.stopped
            if not self.few:  # else what follows takes the place of the bar
                self.close()

    def close(self) -> None:
        """End the bar; what was said stays."""
        if self._bar is not None:
            self._bar.close()
        self._kind = ""

    def end(self, line: str) -> None:
        """Say how it ended."""
        (self.talk.say if self._bar is None else self._bar.end)(line)

    def _recent_rate(self, seconds: float) -> float:
        """Return images/s of the last seconds of training; 0 where nothing is known of them.

        Not since the beginning: the first steps set everything up, and on a GPU take a hundred times as long as others.

        Args:
            seconds: Training time so far.
        """
        while len(self._moments) > 1 and seconds - self._moments[1][1] >= SECONDS_OF_RATE:
            del self._moments[0]
        images, since = self._moments[0] if self._moments else (self.images, seconds)
        self._moments.append((self.images, seconds))
        return (self.images - images) / (seconds - since) if seconds > since else 0.0

    # -- either ----------------------------------------------------------------------------------------------

    def _show(
        self,
        kind: str,
        done: int,
        total: int,
        rate: float,
        terms: Mapping[str, float],
        pause: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        left = clock_time(max(0, total - done) / rate) if rate > 0 else "?"
        # Norms are for the log: looked at now and then only, they would come and go on the line.
        shown = {name: value for name, value in terms.items() if not name.endswith("/gradient_norm")}
        if self.few:
            shown = {name: value for name, value in shown.items() if name.endswith("/loss")} or shown
        losses = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        fields = {"rate": f"{rate:,.0f}/s" if rate > 0 else "", "left": left, "losses": losses}
        done = min(done, total)
        if self._bar is not None:
            if self._kind != kind:
                for line in self.opening:
                    self._bar.say(line)
                self.opening = []
            self._bar.move(kind, done, total, fields)
        else:
            now, first = time.monotonic(), self._kind != kind
            pause = SECONDS_BETWEEN_SAME if self.few else pause
            if first or (done >= total and not self.few) or now - self._said >= pause:
                self._said = now
                self.say(f"  {_words(kind, done, total, fields)}")
        self._kind = kind
