"""Trackers that follow a training run: TensorBoard, Weights & Biases, MLflow.

Each is a small class that takes numbers and pictures. `Tracked` is the listener that feeds it from the events of
training. Nothing that goes wrong in a tracker ends a training run: it is said once, and the tracker gets nothing more.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from morphospace.errors import MissingExtra, one_line
from morphospace.files import is_plain, json_text, read_bytes, write_text
from morphospace.records import read_json, typed
from morphospace.runs.expected import Expected
from morphospace.runs.folder import TRACKED, RunFolder
from morphospace.runs.report import sampled_from
from morphospace.training.events import Checkpointed, Event, Finished, Reported, Scored, Validated

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Say = Callable[[str], None]
PROJECT = "morphospace"
PICTURES = ("samples", "reconstructions")


class Tracker(Protocol):
    """What follows one training run.

    Attributes:
        id: What it calls the run, so that a resumed one goes on; empty where it needs no name.
        where: Where a person finds it, for a line of the log; empty if there is nothing to say.
    """

    id: str
    where: str

    def __init__(self, run: RunFolder, before: str, images: int, say: Say) -> None:
        """Begin, or go on with the run that it called `before`, from image `images` on."""

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        """Take numbers after so many images."""

    def picture(self, name: str, file: Path, images: int) -> None:
        """Take a PNG."""

    def end(self, *, whole: bool) -> None:
        """Close; `whole` if the run was not interrupted."""


def described(run: RunFolder) -> dict[str, Any]:
    """Return the settings that describe a run to others, by section, and what its images are; no path of a machine."""
    facts = {"data": Path(str(run.facts["data"]).partition(":")[0]).name, "shape": list(run.shape)}
    return {**run.configuration.described(), "run": facts}


class TensorBoard:
    """Event files in the run's folder `tensorboard`."""

    id = where = ""

    def __init__(self, run: RunFolder, before: str, images: int, say: Say) -> None:
        self.run, self.begun = run, images
        self.folder = run.place / "tensorboard"
        self.expect = Expected(say)
        self.board: SummaryWriter | None = None
        text = json_text(described(run), indent=1).replace("\n", "\n    ")
        self._write(lambda board: board.add_text("settings", f"    {text}", images), images)

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        """Write scalars."""

        def scalars(board: SummaryWriter) -> None:
            for name, value in values.items():
                board.add_scalar(name, value, images)

        self._write(scalars, images)

    def picture(self, name: str, file: Path, images: int) -> None:
        """Write the picture's bytes as they are."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        shown = Summary.Value(tag=name, image=Summary.Image(encoded_image_string=read_bytes(file)))
        self._write(lambda board: board._get_file_writer().add_summary(Summary(value=[shown]), images), images)

    def _write(self, write: Callable[[SummaryWriter], None], images: int) -> None:
        """Write to the events' file; a new one after its folder was removed or the disk was full."""
        if not self.expect(self.folder):
            self._close()
        try:
            if self.board is None:
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(self.folder), purge_step=images)
            write(self.board)
        except OSError:  # its thread met the folder removed, or a full disk; the next report begins a new file
            self._close()

    def end(self, *, whole: bool) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        board, self.board = self.board, None
        with contextlib.suppress(OSError):
            if board is not None:
                board.close()


class Wandb:
    """A run of Weights & Biases; its files lie in the run's folder `wandb`. `WANDB_MODE=offline` asks no server."""

    def __init__(self, run: RunFolder, before: str, images: int, say: Say) -> None:
        import wandb

        # What is printed is ours to say; the program, its repository and the machine are nobody's business.
        private = ("disable_git", "disable_code", "x_disable_meta", "x_disable_stats", "x_disable_machine_info")
        ours: dict[str, Any] = {"silent": True, "console": "off", "reinit": "create_new", "host": "-"}
        settings = wandb.Settings(**ours | dict.fromkeys(private, True))
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.place.resolve().name,
            id=before or secrets.token_hex(4),
            resume="allow",
            dir=str(run.place),
            config=described(run),
            settings=settings,
        )
        self._run.define_metric("images")
        self._run.define_metric("*", step_metric="images")
        self.id = self._run.id
        self.where = f"offline, in {run.path / 'wandb'}" if self._run.offline else str(self._run.url)

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        """Log numbers over images."""
        self._run.log({**values, "images": images})

    def picture(self, name: str, file: Path, images: int) -> None:
        """Log a picture over images."""
        self._run.log({name: self._wandb.Image(str(file)), "images": images})

    def end(self, *, whole: bool) -> None:
        """Finish the run."""
        self._run.finish(exit_code=0 if whole else 1)


class MLflow:
    """A run of MLflow, where `MLFLOW_TRACKING_URI` says; else here, in `mlflow.db` or, without SQLAlchemy, `mlruns`."""

    def __init__(self, run: RunFolder, before: str, images: int, say: Say) -> None:
        # A server that does not answer is given up after seconds: training waits meanwhile.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 wants to be asked for files
        import mlflow
        from mlflow.entities import Metric, Param, RunTag

        self._metric = Metric
        known = mlflow.is_tracking_uri_set() or find_spec("sqlalchemy") is not None
        self.where = mlflow.get_tracking_uri() if known else Path("mlruns").absolute().as_uri()
        self._client = client = mlflow.MlflowClient(self.where)
        self.id = self._found(before)
        if self.id:
            client.update_run(self.id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = client.get_experiment_by_name(name)
        number = client.create_experiment(name) if experiment is None else experiment.experiment_id
        self.id = client.create_run(number, run_name=run.place.resolve().name).info.run_id
        parameters = [
            Param(f"{section}.{key}", str(value)[:500])
            for section, values in described(run).items()
            for key, value in values.items()
        ]
        for first in range(0, len(parameters), 100):  # the most that a server takes at once
            client.log_batch(self.id, params=parameters[first : first + 100])
        client.log_batch(self.id, tags=[RunTag("morphospace.model", run.configuration.model.name)])

    def _found(self, before: str) -> str:
        """Return the run that went before, if it is still there; else nothing."""
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):
            return str(self._client.get_run(before).info.run_id) if before else ""
        return ""

    def numbers(self, values: Mapping[str, float], images: int) -> None:
        """Log numbers over images; its names have no `@`."""
        now = int(time.time() * 1000)
        metrics = [self._metric(name.replace("@", "_"), value, now, images) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def picture(self, name: str, file: Path, images: int) -> None:
        """Keep a picture among the run's artifacts."""
        self._client.log_artifact(self.id, str(file), name)

    def end(self, *, whole: bool) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self.id, "FINISHED" if whole else "KILLED")


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow}


def check_trackers(names: tuple[str, ...]) -> None:
    """Refuse trackers whose packages are not installed.

    Raises:
        MissingExtra: If one is not.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        way_out = "pip install 'morphospace[track]', or leave it out with --track tensorboard"
        raise MissingExtra("track", ",".join(names), f"needs {', '.join(missing)}", way_out)


class Tracked:
    """Feeds a tracker from the events of training. It stands after the run's recorder, whose pictures it takes.

    Args:
        name: The tracker's.
        run: The run's folder.
        say: Takes a line for the user: where the tracker is, or why it gets nothing more.
    """

    def __init__(self, name: str, run: RunFolder, say: Say) -> None:
        self.name, self.run, self.say = name, run, say
        self.tracker: Tracker | None = None
        self.failed = False

    def __call__(self, event: Event) -> None:
        """Hand an event on; after a failure, none."""
        with self.guarded():
            self.take(event)

    def close(self) -> None:
        """Close the tracker of a run that ended by an error."""
        with self.guarded():
            self.end(0, signal.SIGTERM.name)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Say once what went wrong in a tracker, and let training go on."""
        try:
            yield
        except Exception as error:  # whatever a library of others raises: the training run is worth more
            if not self.failed:
                self.say(f"{self.name}: {one_line(error)}; training goes on, and {self.name} gets nothing more")
            self.failed = True

    def take(self, event: Event) -> None:
        """Hand an event on. What was recorded at a signal comes again when the run continues, and is left out."""
        images = event.clock.images
        if self.failed or not event.due:
            return
        if isinstance(event, Finished):
            self.end(images, event.stopped)
        elif isinstance(event, Reported):
            self.begun(images).numbers({**event.terms, "images_per_second": event.rate}, images)
        elif isinstance(event, Validated):
            valid = {f"valid/{name}": value for name, value in event.terms.items()}
            self.begun(images).numbers({**valid, "valid/loss": event.loss}, images)
        elif isinstance(event, Scored):
            scores = {f"metric/{name}": score.value for name, score in event.scores.items()}
            self.begun(images).numbers(scores, images)
        elif isinstance(event, Checkpointed):
            for name in PICTURES:
                file = self.run.place / name / f"{images:012d}.png"
                if is_plain(file):
                    self.begun(images).picture(name, file, images)

    def begun(self, images: int) -> Tracker:
        """Return the tracker, begun if need be: anew, or where it was when the run was interrupted."""
        if self.tracker is None:
            file, known = self.run.place / TRACKED, dict[str, str]()
            with contextlib.suppress(FileNotFoundError):
                known = typed(read_json(read_bytes(file)), dict[str, str], TRACKED)
            self.tracker = TRACKERS[self.name](self.run, known.get(self.name, ""), images, self.say)
            if self.tracker.id:
                write_text(file, json_text({**known, self.name: self.tracker.id}, indent=1) + "\n")
            if self.tracker.where:
                self.say(f"{self.name}: {self.tracker.where}")
        return self.tracker

    def end(self, images: int, stopped: str) -> None:
        """Hand on how the best checkpoint scored and the last samples, if they were drawn anew, and close."""
        tracker, self.tracker = self.tracker, None
        if tracker is None:
            return
        whole = stopped not in signal.Signals.__members__
        best = self.run.read_best() if whole else None
        if best is not None:
            tracker.numbers({f"final/{name}": score["value"] for name, score in best["report"].items()}, images)
        samples = self.run.place / "samples" / f"{images:012d}.png"
        if whole and is_plain(samples) and sampled_from(samples):
            tracker.picture("samples", samples, images)
        tracker.end(whole=whole)
