"""The process that trains for one page: commands come in as lines of JSON, frames go out, each after its length.

It ends when its input does: when the page has left, or when the studio has ended in whatever way.
"""

from __future__ import annotations

import os
import queue
import struct
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

import torch

from morphospace.errors import MorphospaceError
from morphospace.records import read_json
from morphospace.studio.live import commands
from morphospace.studio.live.frames import packed
from morphospace.studio.live.run import Run
from morphospace.training.precision import keep_freed_blocks

FRAME = 1 / 25  # seconds between two frames, at least
FRAMES_SHARE = 0.04  # of the training's processor time goes into frames, at most: dear frames come less often
WORK = 0.02  # seconds of training before commands are heard and the other picture has its turn
AHEAD = 5  # steps by which one picture may be ahead of the other while both train
MEASURE = 0.5  # seconds of processor time between two counts of the modes, at least
PATIENCE = 1.0  # seconds: a page that draws no frame for so long is not looked at, and nothing is trained for it
MOST_SECONDS = 600.0  # of training before a run ends by itself; the next command to train goes on for as long again
REST = 600.0  # seconds without a command after which the process ends
NICE = 5  # training waits while somebody explores
ENDED = f"The run has ended after {MOST_SECONDS / 60:.0f} minutes of training. Play goes on for as long again."


class Trainer:
    """One picture of a page: its run, and when it is shown.

    Args:
        picture: Its number.
        post: Takes a frame.
    """

    def __init__(self, picture: int, post: Callable[[bytes], None]) -> None:
        self.picture, self.post = picture, post
        self.run: Run | None = None
        self.number = 0
        self.until = 0
        self.going = False
        self.trained = 0.0  # seconds since it was last asked to train by somebody who knew that it had ended
        self.ended = ""
        self.waiting = False  # for the page to draw the last frame
        self.sent, self.due = 0.0, 0.0  # when the last frame was sent, and the next may come
        self.paid = 0.0  # processor time at which enough was trained for the last frame
        self.measured = 0.0

    def hear(self, command: Any) -> None:
        """Do what a page asks."""
        if isinstance(command, commands.Make):
            self.going, self.trained, self.ended, self.run = False, 0.0, "", None
            self.number = command.run
            self.run = Run(command.chosen())
            self.show(measure=True)
        elif isinstance(command, commands.Took):
            self.waiting = False
        elif isinstance(command, commands.Close):
            self.run, self.going = None, False
        elif self.run is None:
            return
        elif isinstance(command, commands.Go):
            if self.ended:
                self.ended, self.trained = "", 0.0
            self.until, self.going = command.until, True
        elif isinstance(command, commands.Turn):
            take_turn(self.run, command.player)
            self.show(measure=True)
        else:
            self.going = False
            self.show(measure=True)

    def work(self, most: int) -> bool:
        """Train for a moment, to `most` steps in all; return whether anything was done."""
        run, now = self.run, time.perf_counter()
        if run is None or not self.going or (self.waiting and now - self.sent > PATIENCE):
            return False
        began = now
        while run.steps < min(self.until, most) and not run.failed and now - began < WORK:
            run.step()
            now = time.perf_counter()
        self.trained += now - began
        if self.trained > MOST_SECONDS:
            self.ended = ENDED
        self.going = not (run.steps >= self.until or run.failed or self.ended)
        if not self.going or (not self.waiting and now >= self.due and time.process_time() >= self.paid):
            self.show(measure=bool(self.ended))
        return True

    def show(self, *, measure: bool) -> None:
        """Send a frame."""
        assert self.run is not None
        began, processor = time.perf_counter(), time.process_time()
        if measure := measure or processor - self.measured >= MEASURE:
            self.measured = processor
        self.post(self.run.frame(measure=measure, picture=self.picture, run=self.number, ended=self.ended))
        self.sent = time.perf_counter()
        self.waiting = True
        self.due = began + FRAME
        # By processor time: on a busy machine little is trained between two moments of the clock.
        self.paid = time.process_time() + (time.process_time() - processor) / FRAMES_SHARE


def take_turn(run: Run, player: str) -> None:
    """Take the next turn of a step, a whole step, or a turn of one player that belongs to none."""
    if player == "next":
        run.next_turn()
    elif player == "all":
        run.step()
    else:
        run.turn("critic" if player == "critic" else "generator")


class Worker:
    """Both pictures of a page.

    Args:
        post: Takes a frame.
    """

    def __init__(self, post: Callable[[bytes], None]) -> None:
        self.post = post
        self.pictures = [Trainer(picture, post) for picture in (0, 1)]

    def hear(self, line: str) -> None:
        """Do what a line asks; an error becomes a frame that says it."""
        message = read_json(line)
        picture = message.get("picture", 0)
        try:
            import_module(message.get("module", __package__))  # of a GAN that a plugin brings
            command: Any = commands.read(message)
            self.pictures[command.picture].hear(command)
        except MorphospaceError as error:
            self.post(packed({"picture": picture, "run": message.get("run", 0), "refused": str(error)}, {}))

    def serve(self, lines: queue.SimpleQueue[str]) -> None:
        """Train, and hear commands between, until there has been none for a long time."""
        heard = time.monotonic()
        while True:
            busy = self.train()
            try:
                while True:
                    self.hear(lines.get(block=not busy, timeout=0.1))
                    heard, busy = time.monotonic(), True
            except queue.Empty:
                if not busy and time.monotonic() - heard > REST:
                    return

    def train(self) -> bool:
        """Train both pictures for a moment, neither far ahead of the other; return whether anything was done."""
        steps = [each.run.steps for each in self.pictures if each.run and each.going]
        done = [each.work(min(steps, default=0) + AHEAD) for each in self.pictures]
        return any(done)


def main() -> None:
    """Serve standard input and output."""
    frames: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not come between frames
    os.nice(NICE)
    torch.set_num_threads(1)
    keep_freed_blocks()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # in the middle of a step too

    def post(frame: bytes) -> None:
        frames.write(struct.pack("<I", len(frame)) + frame)
        frames.flush()

    threading.Thread(target=listen, daemon=True).start()
    Worker(post).serve(lines)


if __name__ == "__main__":
    main()
