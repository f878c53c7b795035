"""How fast a model is trained, measured before its runs, so that their lengths in images are fixed from then on."""

from __future__ import annotations

import tempfile
from pathlib import Path

from morphospace.data.pack import Pack
from morphospace.errors import RunError
from morphospace.tools.sweep.grid import Combination
from morphospace.tools.train.train import Hooks, train
from morphospace.training.events import Event, Finished, Progressed

SECONDS = 3.0  # of training steps among which the best is looked for, after the first
TEMPORARY = ".speed-"
ENDLESS = 10**9  # images


class _Measured(Exception):
    """Ends a training run that was begun only to be timed."""


class Stopwatch:
    """A listener that ends training once it has seen enough steps.

    Args:
        seconds: Of training steps, as the recorder counts them: without validating, saving and scoring.

    Attributes:
        rate: Images/s in the best second but the first, in which memory is reserved: other work on the machine hardly
            touches it. 0 until it is known.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.rate = seconds, 0.0
        self.first: tuple[int, float] | None = None
        self.last = (0, 0.0)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished) and event.stopped:
            raise KeyboardInterrupt
        if not isinstance(event, Progressed):
            return
        now = (event.clock.images, event.seconds)
        if self.first is None:
            self.first = now
        else:
            self.rate = max(self.rate, (now[0] - self.last[0]) / (now[1] - self.last[1]))
            if now[1] - self.first[1] >= self.seconds:
                raise _Measured
        self.last = now


def speed_of(
    run: Combination,
    folder: Path,
    *,
    recipe: str | None,
    data: Pack | None,
    hooks: Hooks,
    seconds: float = SECONDS,
) -> float:
    """Return the images/s at which a run is trained, from a few seconds of it that leave nothing behind.

    Args:
        run: The run.
        folder: Where a temporary folder may be made.
        recipe: The recipe under the settings.
        data: Images that Python handed over.
        hooks: Who hears of images being packed.
        seconds: How long to measure.
    """
    watch = Stopwatch(seconds)
    long = {"images": ENDLESS, "report_images": ENDLESS, "checkpoint_images": ENDLESS, "metrics": (), "best": "loss"}
    own = {**run.given, **long, "metrics_every_images": None, "patience": 0, "stop_on_collapse": 0.0}
    own |= {} if data is None else {"data": data}
    heard = Hooks(listeners=[watch], say=hooks.say, progress=hooks.progress)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as place:
        try:
            train(run.configuration.model.name, out=Path(place) / "run", recipe=recipe, hooks=heard, **own)
        except _Measured:
            return watch.rate
    raise RunError("speed", run.configuration.model.name, "its training ended before it could be timed", "try again")
