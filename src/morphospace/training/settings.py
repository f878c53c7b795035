"""The settings of training; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from morphospace.errors import require
from morphospace.ranges import OFF, Above, AtLeast, Below, Between, Seed, check_ranges
from morphospace.roles import HoldsPath, Role
from morphospace.training.selection import LOSS


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and how to train. Lengths are in images, never in steps, so that batch sizes compare.

    Attributes:
        epochs: Length in passes over the training images (used when `images` is not given).
        images: Length in images.
        batch_size: Images in a batch, over all processes. When not given, 128, for a GAN on a CPU 32, or all training
            images if there are fewer; a run that is continued keeps its own.
        seed: Seed of the weights, the order of the images and all random numbers.
        device: Where to compute; `auto` takes cuda, then cpu.
        precision: bfloat16 autocast or float32; `auto` takes bf16 where the hardware multiplies it faster (a CPU is
            timed).
        clip: Largest gradient norm of a player, 0 for none.
        schedule: Learning rate after the warm-up: `constant`; `cosine`, down to 0 at the end; or `trapezoid`, constant
            and then linearly down to 0 over the last fifth of the run.
        warmup_images: The learning rate rises linearly over this many images.
        ema_halflife_images: Half-life of the weights' moving average, 0 for none; the model's own choice when not
            given.
        report_images: Images between two reports; when not given, a hundredth of the run, or one epoch if that is
            shorter.
        checkpoint_images: Images between two checkpoints (with samples and validation); when not given, a tenth
            of the run, or ten epochs if that is shorter.
        keep: How many of the latest checkpoints stay on disk, in addition to the best one.
        track: Trackers that follow the run, as `tensorboard,wandb`: `tensorboard` writes into the run's folder; `wandb`
            and `mlflow` need the extra `track`.
        stop_on_collapse: End the run when a VAE's KL stays below this many nats: its codes then carry no information; 0
            for never.
        collapse_reports: The KL must stay below for this many reports in a row.
        metrics: Metrics to compute during training, against held-out images, as `fd,kid,precision`; see `morpho
            evaluate`.
        metrics_every_images: Images between two scorings, each with a checkpoint; with each checkpoint when not given.
        metrics_n: Number of samples for a scoring, and the most held-out images to compare them with.
        metrics_features: Features that distances are measured in: `attributes`, `classifier`, `autoencoder`, `pixels`,
            `inception` or `inception:PATH`. When not given, a classifier of attributes if the images have any, a
            classifier if they have labels, else an autoencoder.
        best: What the best checkpoint is chosen by: `loss` on held-out images, or a metric, which is then scored.
        patience: End the run after this many scorings in a row without an improvement of `best`; 0 for never.
        min_delta: Smallest improvement that counts; half the width of the metric's interval when not given.
        exact: Continue a run only where its weights come out as those of an uninterrupted run, byte for byte: with the
            same device, precision, number of threads and processes, and version of torch.
        products: On a CPU, compute deep convolutions as matrix products where a trial of a second finds that faster; a
            run that is continued keeps the layers that it began with.
        resident: Keep the images on the device; decided from its free memory when not given.
        graphs: On one CUDA device, `auto` captures each kind of step as a CUDA graph, once the graph has computed the
            same bytes as the step without it; `off` takes every step call by call.
    """

    epochs: Annotated[float, Role.LENGTH, Above(0, 1e6)] = 10.0
    images: Annotated[int | None, Role.LENGTH, Between(1, 10**12)] = None
    batch_size: Annotated[int | None, Role.FIT, Between(1, 1_000_000)] = None
    seed: Annotated[Seed, Role.FIT] = 0
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Role.PLACE] = "auto"
    precision: Annotated[Literal["auto", "fp32", "bf16"], Role.FIT] = "auto"
    clip: Annotated[float, Role.FIT, AtLeast(0, way_out=OFF)] = 0.0
    schedule: Annotated[Literal["constant", "cosine", "trapezoid"], Role.FIT] = "constant"
    warmup_images: Annotated[int, Role.FIT, AtLeast(0)] = 0
    ema_halflife_images: Annotated[int | None, Role.FIT, AtLeast(0, way_out=OFF)] = None
    report_images: Annotated[int | None, Role.REPORTING, AtLeast(1)] = None
    checkpoint_images: Annotated[int | None, Role.REPORTING, AtLeast(1)] = None
    keep: Annotated[int, Role.REPORTING, AtLeast(1)] = 3
    track: Annotated[tuple[Literal["tensorboard", "wandb", "mlflow"], ...], Role.REPORTING] = ("tensorboard",)
    stop_on_collapse: Annotated[float, Role.SCORING, Below(0, 1e6, OFF)] = 0.0
    collapse_reports: Annotated[int, Role.SCORING, AtLeast(1)] = 5
    metrics: Annotated[tuple[str, ...], Role.SCORING] = ()
    metrics_every_images: Annotated[int | None, Role.SCORING, AtLeast(1)] = None
    metrics_n: Annotated[int, Role.SCORING, Between(2, 100_000)] = 2000
    metrics_features: Annotated[str, Role.SCORING, HoldsPath()] = ""
    best: Annotated[str, Role.SCORING] = LOSS
    patience: Annotated[int, Role.SCORING, AtLeast(0, way_out=OFF)] = 0
    min_delta: Annotated[float | None, Role.SCORING, AtLeast(0)] = None
    exact: Annotated[bool, Role.PLACE] = False
    products: Annotated[bool, Role.PLACE] = True
    resident: Annotated[bool | None, Role.PLACE] = None
    graphs: Annotated[Literal["auto", "off"], Role.PLACE] = "auto"

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))
        every = self.metrics_every_images
        require(
            every is None or self.scores, "metrics_every_images", every, "goes with metrics", "name a metric, as fd"
        )

    @property
    def scores(self) -> bool:
        """Whether anything is scored during training."""
        return bool(self.metrics) or self.best != LOSS

    def pauses(self, total: int, epoch: int) -> tuple[int, int]:
        """Return how many images lie between two reports, and between two checkpoints.

        By default, a hundredth and a tenth of the run, or an epoch and ten epochs if these are shorter; there are never
        more than 1,000 reports and 100 checkpoints by default.

        >>> TrainingSettings().pauses(total=600_000, epoch=60_000), TrainingSettings().pauses(30_000_000, 60_000)
        ((6000, 60000), (60000, 600000))
        """
        report = max(total // 1000, min(total // 100, epoch), 1)
        checkpoint = max(total // 100, min(total // 10, 10 * epoch), 1)
        return self.report_images or report, self.checkpoint_images or checkpoint
