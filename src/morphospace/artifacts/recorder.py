"""The listener that leaves what a run leaves: numbers, checkpoints, pictures, curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from morphospace.artifacts.checkpoints import save_checkpoint
from morphospace.artifacts.curves import draw_curves
from morphospace.artifacts.files import writing
from morphospace.artifacts.page import write_report
from morphospace.artifacts.pictures import grid, interleave, save_picture
from morphospace.artifacts.run import RunFolder
from morphospace.models.contract import Decodes, Encodes, Model, seeded_noise
from morphospace.training.engine import Engine
from morphospace.training.events import Checkpointed, Event, Finished, Reported, Resumed, Validated

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Recorder"]

SAMPLES = 64


class Recorder:
    """Writes a run's folder while it is trained.

    Args:
        run: The folder.
        model: The model in training.
        engine: Asked for its averaged weights when pictures are drawn.
        shown: Images to reconstruct, in the model's range.
    """

    def __init__(self, run: RunFolder, model: Model, engine: Engine, shown: Tensor) -> None:
        self.run, self.model, self.engine, self.shown = run, model, engine, shown
        self.board: SummaryWriter | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Resumed):
            self.run.forget_after(event.clock.step)
        elif isinstance(event, Reported):
            self.write(
                event,
                event.terms,
                {"seconds": round(event.seconds, 3), "images_per_second": round(event.rate, 1)},
            )
        elif isinstance(event, Validated):
            valid = {f"valid/{name}": value for name, value in event.terms.items()}
            self.write(event, {**valid, "valid/loss": event.loss}, {})
        elif isinstance(event, Checkpointed):
            keep = self.run.configuration.training.keep
            save_checkpoint(self.run.checkpoints, event.state, best=event.best, keep=keep)
            self.draw(event.clock.images)
        elif isinstance(event, Finished):
            write_report(self.run)
            if self.board:
                self.board.close()

    def write(self, event: Event, terms: Mapping[str, float], more: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl and the same numbers to TensorBoard's events."""
        clock = event.clock
        line = {"step": clock.step, "images": clock.images, "epoch": round(clock.epoch, 4)}
        if "seconds" not in more:
            more = {"seconds": round(self.engine.seconds, 3), **more}
        with writing(self.run.metrics), self.run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **more, **terms}) + "\n")
        if self.board is None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.run.path / "tensorboard"), purge_step=clock.images)
        for name, value in terms.items():
            self.board.add_scalar(name, value, clock.images)

    def draw(self, images: int) -> None:
        """Draw samples from fixed noise, reconstructions of fixed images, and the curves."""
        facts = {"model": self.model.settings.name, "images": images}
        with self.engine.judging(), torch.random.fork_rng(devices=[]):
            if isinstance(self.model, Decodes) and self.model.prior is not None:
                z = self.model.prior.from_noise(seeded_noise(SAMPLES, self.model.latent_dim, 0, dtype=self.model.dtype))
                drawn = self.model.to_uint8(self.model.decode(z.to(self.model.device))).numpy()
                path = self.run.path / "samples" / f"{images:012d}.png"
                save_picture(path, grid(drawn, 8), {**facts, "seed": 0})
            if isinstance(self.model, Decodes) and isinstance(self.model, Encodes):
                rebuilt = self.model.decode(self.model.encode(self.shown).mean)
                originals, rebuilt_images = (np.asarray(self.model.to_uint8(side)) for side in (self.shown, rebuilt))
                path = self.run.path / "reconstructions" / f"{images:012d}.png"
                save_picture(
                    path,
                    grid(interleave(originals, rebuilt_images, 8), 8),
                    {**facts, "rows": "original, reconstruction"},
                )
        title = f"{self.model.settings.name}, {self.run.path.name}, {images:,} images"
        draw_curves(self.run.path / "curves.png", self.run.read_metrics(), title)
