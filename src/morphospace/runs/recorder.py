"""The listener that leaves what a run leaves: numbers, checkpoints, pictures, curves."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from morphospace.errors import one_line
from morphospace.files import json_text, open_plain, write_text, writing
from morphospace.models.contract import Decodes, DecodesMasks, Encodes, Model, each_condition, masks_uint8, seeded_noise
from morphospace.models.priors import Prior
from morphospace.pictures.diagram import diagram_svg
from morphospace.pictures.plots import draw_curves
from morphospace.pictures.sheet import grid, grid_of_pairs, grid_of_rows, grid_with_row_labels, save_picture
from morphospace.runs.checkpoints import pointed, save_checkpoint
from morphospace.runs.codes import prior_for, usual_prior
from morphospace.runs.expected import Expected
from morphospace.runs.folder import DIAGRAM, RunFolder
from morphospace.runs.report import write_report
from morphospace.runs.run import Run
from morphospace.training.anatomy import anatomy
from morphospace.training.engine import Engine
from morphospace.training.events import Checkpointed, Event, Finished, Reported, Resumed, Scored, Validated

if TYPE_CHECKING:
    from PIL import Image

    from morphospace.data.batches import Batch
    from morphospace.data.pack import Pack


SAMPLES, COLUMNS = 64, 8
# A drawing of curves takes a second or two, which is longer than many a checkpoint is apart from the next.
CURVES_SECONDS = 60.0
ROWS = 32  # of a grid with a condition a row: data may have a thousand classes


class Recorder:
    """Writes a run's folder while it is trained.

    Args:
        run: The folder.
        model: The model in training.
        engine: Asked for its averaged weights when pictures are drawn.
        shown: Images to reconstruct.
        pack: The images of the run, whose codes a prior may be fitted to at its end.
        say: Takes a line when something that the run wrote was removed while it trains.
    """

    def __init__(
        self,
        run: RunFolder,
        model: Model,
        engine: Engine,
        shown: Batch,
        pack: Pack,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.run, self.model, self.engine, self.shown, self.pack, self.say = run, model, engine, shown, pack, say
        self.expect = Expected(say)
        self.begun = time.monotonic()  # or when curves were last drawn

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Resumed):
            self.resume(event)
        elif isinstance(event, Reported):
            self.write(
                event,
                event.terms,
                {"seconds": round(event.seconds, 3), "images_per_second": round(event.rate, 1)},
            )
        elif isinstance(event, Validated):
            valid = {f"valid/{name}": value for name, value in event.terms.items()}
            self.write(event, {**valid, "valid/loss": event.loss}, {})
        elif isinstance(event, Scored):
            scores = {f"metric/{name}": score.value for name, score in event.scores.items()}
            self.write(event, scores, {"scoring_seconds": round(event.seconds, 3)})
        elif isinstance(event, Checkpointed):
            keep = self.run.configuration.training.keep
            for folder in (self.run.checkpoints, *(file.parent for file in self.pictures(event.clock.images))):
                self.expect(folder)
            save_checkpoint(self.run.checkpoints, event.state, best=event.best, keep=keep)
            self.draw(event.clock.images)
            if time.monotonic() - self.begun > CURVES_SECONDS:
                self.draw_curves(event.clock.images)
        elif isinstance(event, Finished):
            if event.stopped not in signal.Signals.__members__:
                self.draw_last(event.clock.images)
            self.draw_curves(event.clock.images)
            self.draw_diagram()
            write_report(self.run)

    def resume(self, event: Resumed) -> None:
        """Forget what came after a checkpoint, or was recorded at a signal, and draw what a kill left undrawn."""
        images, continues = event.clock.images, not self.engine.over
        self.run.forget_after(event.clock.step, signals=continues)
        drawn = self.pictures(images)
        if not event.due and continues:
            for picture in drawn:
                picture.unlink(missing_ok=True)
        elif continues or not all(picture.is_file() for picture in drawn):  # a run that was over has another last sheet
            self.draw(images)

    def write(self, event: Event, terms: Mapping[str, float], more: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        clock = event.clock
        line = {"step": clock.step, "images": clock.images, "epoch": round(clock.epoch, 4)}
        if "seconds" not in more:
            more = {"seconds": round(self.engine.seconds, 3), **more}
        self.expect(self.run.metrics)
        with writing(self.run.metrics), open_plain(self.run.metrics, "ab") as file:
            text = json_text({**line, **more, **terms, **({} if event.due else {"due": False})})
            file.write(f"{text}\n".encode())

    def pictures(self, images: int) -> list[Path]:
        """Return the files that are drawn after so many images: samples, and reconstructions if the model encodes."""
        decodes = isinstance(self.model, Decodes)
        there = {
            "samples": decodes and self.model.prior is not None,
            "reconstructions": decodes and isinstance(self.model, Encodes),
        }
        return [self.run.place / folder / f"{images:012d}.png" for folder, drawn in there.items() if drawn]

    def draw(self, images: int) -> None:
        """Draw samples from fixed noise by the model's own prior, and reconstructions of fixed images."""
        with self.engine.judging(), torch.random.fork_rng(devices=[]):
            for file in self.pictures(images):
                if file.parent.name == "samples" and self.model.prior is not None:
                    self.draw_samples(file, images, self.model.prior, {})
                else:
                    facts = {"model": self.model.settings.name, "images": images}
                    save_picture(file, self.reconstructions(), {**facts, "rows": "original, reconstruction"})

    def draw_samples(self, file: Path, images: int, prior: Prior, how: Mapping[str, Any]) -> None:
        """Draw samples from fixed noise by a prior."""
        known = self.model.conditioning
        rows = {} if known is None else {"rows": [known.words(row) for row in known.shown(ROWS)]}
        facts = {"model": self.model.settings.name, "images": images, "seed": 0, **rows, **how}
        save_picture(file, self.samples(prior), facts)

    def draw_last(self, images: int) -> None:
        """Draw the last samples anew by a fitted prior, if `sample` takes one for this run."""
        last = pointed(self.run.checkpoints, "last")
        if last is None or not isinstance(self.model, Encodes):
            return
        with self.engine.judging(), torch.random.fork_rng(devices=[]):
            run = Run(self.run, self.model, last).with_images(self.pack)
            if (kind := usual_prior(run)) != "model":
                for file in self.pictures(images):
                    if file.parent.name == "samples":
                        self.draw_samples(file, images, prior_for(run, kind), {"prior": kind})

    def draw_curves(self, images: int) -> None:
        """Draw the curves so far."""
        title = f"{self.model.settings.name}, {self.run.path.name}, {images:,} images"
        draw_curves(self.run.place / "curves.png", self.run.read_metrics(), title)
        self.begun = time.monotonic()

    def draw_diagram(self) -> None:
        """Draw the model's networks and phases, if this has not been done."""
        file = self.run.place / DIAGRAM
        if file.exists():
            return
        try:
            svg = diagram_svg(anatomy(self.model), f"{self.run.path.name} ({self.model.settings.name})")
        except Exception as error:  # of a network of the user's own; the run is trained and must not end with an error
            self.say(f"no diagram of this model: {one_line(error)}")
        else:
            write_text(file, svg)

    def samples(self, prior: Prior) -> Image.Image:
        """Draw fixed noise decoded; a conditional model decodes the same codes for each condition, a row each."""
        model, condition = self.model, None
        if model.conditioning is None:
            noise = seeded_noise(SAMPLES, model.latent_dim, 0)
        else:
            noise, condition = each_condition(model, COLUMNS, 0, ROWS)
            condition = condition.to(model.device, model.dtype)
        z = prior.from_noise(noise).to(model.device, model.dtype)
        images = np.asarray(model.to_uint8(model.decode(z, condition)))  # type: ignore[attr-defined]
        if isinstance(model, DecodesMasks):
            return grid_of_pairs(images, np.asarray(masks_uint8(model.decode_mask(z))))
        if model.conditioning is None or condition is None:
            return grid(images, COLUMNS)
        return grid_with_row_labels(images, COLUMNS, [model.conditioning.words(row) for row in condition[::COLUMNS]])

    def reconstructions(self) -> Image.Image:
        """Draw the shown images rebuilt from their codes' means, a row of them under a row of originals."""
        model, images = self.model, self.shown.images
        condition = None if model.conditioning is None else model.conditioning.from_batch(self.shown)
        z = model.encode(images, condition).mean  # type: ignore[attr-defined]
        rebuilt = model.decode(z, condition)  # type: ignore[attr-defined]
        first, second = (np.asarray(model.to_uint8(side)) for side in (images, rebuilt))
        if isinstance(model, DecodesMasks) and self.shown.masks is not None:
            true = self.shown.masks.amax(1, keepdim=True)
            masks = (np.asarray(masks_uint8(true)), np.asarray(masks_uint8(model.decode_mask(z))))
            return grid_of_rows(first, second, COLUMNS // 2, masks)
        return grid_of_rows(first, second, COLUMNS)
