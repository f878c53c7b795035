"""What long work shows while it goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from morphospace.cli.talk import Talk, sayable

if TYPE_CHECKING:
    from rich.progress import Progress

    from morphospace.training.events import Event
    from morphospace.training.selection import Score


SECONDS_BETWEEN_LINES = 1.0
SECONDS_BETWEEN_SAME = 10.0  # of lines that tell no new numbers


def clock_time(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss.

    >>> clock_time(14), clock_time(3700)
    ('0:14', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _with_margin(score: Score) -> str:
    return f"{score.value:.4g}" + (f" +- {score.margin:.2g}" if score.margin else "")


class Watch:
    """Shows packing and training as they go on. It listens to training's events and remembers how it ended.

    Args:
        talk: Where words go.
        opening: Lines to say before anything else, once it is sure that there is something to do.

    Attributes:
        images: Images seen so far.
        saved: Images seen at the last checkpoint.
        terms: The last report's means.
        valid_loss: The last loss on held-out images.
        resumed_at: The step at which a run was taken up again.
        stopped: Why training ended early: the name of a signal, or a reason in words.
    """

    def __init__(self, talk: Talk, opening: Sequence[str] = ()) -> None:
        self.talk, self.opening = talk, list(opening)
        self._foretold = list(opening)
        self.images, self.reports, self.saved = 0, 0, 0
        self.terms: Mapping[str, float] = {}
        self.valid_loss: float | None = None
        self.resumed_at: int | None = None
        self.stopped = ""
        self._bar: Progress | None = None
        self._kind = ""
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
            if self._bar is not None:
                shown = sayable(said, self.talk.stream)
                self._bar.console.print(shown, markup=False, highlight=False, soft_wrap=True)
            else:
                self.talk.say(said)
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
        from morphospace.training.events import Checkpointed, Finished, Progressed, Reported, Resumed, Scored, Validated

        self.images = event.clock.images
        if isinstance(event, Resumed):
            self.resumed_at, self.saved = event.clock.step, self.images
            self.say(f"resumed at step {event.clock.step}")
        elif isinstance(event, Progressed):
            self._show("training", self.images, event.total_images, event.rate, self.terms, SECONDS_BETWEEN_SAME)
        elif isinstance(event, Reported):
            self.terms, self.reports = event.terms, self.reports + 1
            self._show("training", self.images, event.total_images, event.rate, event.terms)
        elif isinstance(event, Validated):
            self.valid_loss = event.loss
            parts = "".join(f"  {name} {value:.4g}" for name, value in event.terms.items())
            self.say(f"held out: loss {event.loss:.5g}{parts}")
        elif isinstance(event, Scored):
            scores = "".join(f"  {name} {_with_margin(score)}" for name, score in event.scores.items())
            self.say(f"scored:{scores}  in {event.seconds:.1f} s")
        elif isinstance(event, Checkpointed):
            self.saved = self.images
        elif isinstance(event, Finished):
            self.stopped = event.stopped
            self.close()

    def close(self) -> None:
        """Take the bar away; what was said stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._kind = ""

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
        losses = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        if self.talk.on_terminal:
            self._move_bar(kind, done, total, {"rate": f"{rate:,.0f}/s", "left": left, "losses": losses})
            return
        now, first = time.monotonic(), self._kind != kind
        if first or done >= total or now - self._said >= pause:
            self._said = now
            head = "" if kind == "training" else f"{kind} "
            line = f"  {head}{min(done, total):,}/{total:,} images  {min(100, 100 * done // total)}%  {rate:,.0f}/s"
            self.say(f"{line}  {losses}  left {left}" if losses else f"{line}  left {left}")
        self._kind = kind

    def _move_bar(self, kind: str, done: int, total: int, fields: dict[str, Any]) -> None:
        if self._bar is None or self._kind != kind:
            self.close()
            for line in self.opening:
                self.talk.say(line)
            self.opening = []
            self._bar, self._kind = self._make_bar(), kind
            self._bar.add_task(kind, total=total, **fields)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=min(done, total), **fields)

    def _make_bar(self) -> Progress:
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
            console=Console(file=self.talk.stream),
            transient=True,
            refresh_per_second=4,
        )
