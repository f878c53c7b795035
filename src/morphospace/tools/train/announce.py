"""What `train` and `resume` say to a caller in Python who does not listen himself."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from morphospace.tools.train.job import Hooks
from morphospace.tools.train.progress import Bar, Python, Watch, clock_time

if TYPE_CHECKING:
    from morphospace.data.pack import Pack
    from morphospace.runs.configuration import Configuration
    from morphospace.runs.run import Run


class Silence:
    """Says nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def bar(self) -> Bar | None:
        """Return no bar."""


class Announcer(Watch, AbstractContextManager["Announcer"]):
    """Says what is trained, how far it is, and how it ended.

    Args:
        path: The run's folder.
        quiet: Whether to say nothing; of several processes, only the first speaks.
    """

    def __init__(self, path: Path, *, quiet: bool) -> None:
        super().__init__(Silence() if quiet or os.environ.get("RANK", "0") != "0" else Python(), few=True)
        self.path, self._start = path, time.monotonic()
        self.hooks = Hooks(listeners=[self], progress=self.packing, opened=self.begin)

    def begin(self, pack: Pack, configuration: Configuration) -> None:
        """Say what is trained on what."""
        images, shape = f"{len(pack.split('train').images):,} images", "x".join(map(str, pack.shape))
        self.say(f"{configuration.model.name} on {pack.name}, {images} of {shape}: {self.path}")

    def end_with(self, run: Run) -> None:
        """Say how it ended."""
        how = f"stopped by {self.stopped}" if self.stopped else "trained" if self.reports else "nothing left to train"
        held = "" if self.valid_loss is None else f", held-out loss {self.valid_loss:.5g}"
        self.end(f"{how} in {clock_time(time.monotonic() - self._start)}{held}: {run!r}")

    def __exit__(self, *_: object) -> None:
        self.close()
