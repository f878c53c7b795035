"""What a user may say about training; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from morphospace.errors import require
from morphospace.training.selection import LOSS

# What may differ when a run goes on: how long, where, and what it tells; never what is computed at a step.
CHANGEABLE = frozenset(
    {
        "epochs",
        "images",
        "device",
        "report_images",
        "checkpoint_images",
        "keep",
        "resident",
        "stop_on_collapse",
        "collapse_reports",
        "metrics",
        "metrics_every_images",
        "metrics_n",
        "metrics_features",
        "best",
        "patience",
        "min_delta",
    }
)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long and how to train. Lengths are in images, never in steps, so that batch sizes compare.

    Attributes:
        epochs: Length in passes over the training images (used when `images` is not given).
        images: Length in images.
        batch_size: Images in a batch, over all processes.
        seed: Seed of the weights, the order and every draw.
        device: Where to compute; `auto` takes cuda, then cpu.
        precision: bfloat16 autocast or float32; `auto` takes bf16 where the hardware multiplies it fast.
        clip: Largest gradient norm of a player, 0 for none.
        schedule: Learning rate after the warm-up: `constant`, or `cosine` down to 0 at the end.
        warmup_images: The learning rate rises linearly over the first so many images.
        ema_halflife_images: Half-life of the weights' moving average, 0 for none; the model's own choice when not
            given.
        report_images: Images between two reports; when not given a hundredth of the run, in a long one an epoch.
        checkpoint_images: Images between two checkpoints (with samples and validation); when not given a tenth of the
            run, in a long one ten epochs.
        keep: How many of the latest checkpoints stay on disk, the best one beside them.
        stop_on_collapse: End the run when a VAE's KL stays below so many nats, for then its codes say nothing; 0 for
            never.
        collapse_reports: For how many reports in a row.
        metrics: What to score on the way, against held-out images, as `fd,kid,precision`; see `morpho evaluate`.
        metrics_every_images: Images between two scorings, each with a checkpoint; with each checkpoint when not given.
        metrics_n: Samples drawn for a scoring, and the most held-out images they are set against.
        metrics_features: What distances are taken in: `classifier`, `autoencoder`, `pixels`, `inception` or
            `inception:PATH`; a classifier where the images have labels, else an autoencoder, when not given.
        best: What the best checkpoint is chosen by: `loss` on held-out images, or a metric, which is then scored.
        patience: End the run after so many scorings in a row without a gain in `best`; 0 for never.
        min_delta: How much better counts as a gain; half the width of the metric's interval when not given.
        resident: Keep the images on the device; decided from its free memory when not given.
    """

    epochs: float = 10.0
    images: int | None = None
    batch_size: int = 128
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    clip: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_images: int = 0
    ema_halflife_images: int | None = None
    report_images: int | None = None
    checkpoint_images: int | None = None
    keep: int = 3
    stop_on_collapse: float = 0.0
    collapse_reports: int = 5
    metrics: tuple[str, ...] = ()
    metrics_every_images: int | None = None
    metrics_n: int = 2000
    metrics_features: str = ""
    best: str = LOSS
    patience: int = 0
    min_delta: float | None = None
    resident: bool | None = None

    def __post_init__(self) -> None:
        require(0 < self.epochs <= 1e6, "epochs", self.epochs, "must be positive and at most 1e6")
        images = self.images
        require(images is None or 1 <= images <= 10**12, "images", images, "must be from 1 to 1e12")
        require(1 <= self.batch_size <= 1_000_000, "batch_size", self.batch_size, "must be from 1 to 1000000")
        require(0 <= self.clip < float("inf"), "clip", self.clip, "must not be negative", "0 turns it off")
        require(self.warmup_images >= 0, "warmup_images", self.warmup_images, "must not be negative")
        kl = self.stop_on_collapse
        require(0 <= kl < 1e6, "stop_on_collapse", kl, "must be in [0, 1e6) nats", "0 turns it off")
        require(self.collapse_reports >= 1, "collapse_reports", self.collapse_reports, "must be at least 1")
        require(self.keep >= 1, "keep", self.keep, "must be at least 1")
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be from 0 to 2**63 - 1")
        half = self.ema_halflife_images
        require(half is None or half >= 0, "ema_halflife_images", half, "must not be negative", "0 turns it off")
        for name in ("report_images", "checkpoint_images", "metrics_every_images"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "must be at least 1")
        every = self.metrics_every_images
        require(
            every is None or self.scores, "metrics_every_images", every, "goes with metrics", "name a metric, as fd"
        )
        require(2 <= self.metrics_n <= 100_000, "metrics_n", self.metrics_n, "must be from 2 to 100,000")
        require(self.patience >= 0, "patience", self.patience, "must not be negative", "0 turns it off")
        delta = self.min_delta
        require(delta is None or 0 <= delta < float("inf"), "min_delta", delta, "must not be negative")

    @property
    def scores(self) -> bool:
        """Whether anything is scored on the way."""
        return bool(self.metrics) or self.best != LOSS

    def pauses(self, total: int, epoch: int) -> tuple[int, int]:
        """Return how many images lie between two reports, and between two checkpoints.

        A person who trains for days wants to hear of it within the hour, and to lose no more than that: an epoch and
        ten epochs, but no more than 1,000 reports and 100 checkpoints in all.

        >>> TrainingSettings().pauses(total=600_000, epoch=60_000), TrainingSettings().pauses(30_000_000, 60_000)
        ((6000, 60000), (60000, 600000))
        """
        report = max(total // 1000, min(total // 100, epoch), 1)
        checkpoint = max(total // 100, min(total // 10, 10 * epoch), 1)
        return self.report_images or report, self.checkpoint_images or checkpoint
