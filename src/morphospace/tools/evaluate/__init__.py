"""Measure how close a run's samples, or any set of images, are to real ones; each number with its conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from morphospace.errors import SettingError
from morphospace.evaluation.results import Result
from morphospace.models.sampling import PriorName
from morphospace.ranges import Between, Seed, check_ranges
from morphospace.tools.tool import Answer, Asked, Displayable, Names, Summary, Table, status, tool

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from morphospace.data.pack import Pack
    from morphospace.runs.run import Run

MOST = 100_000


@dataclass(frozen=True)
class Evaluation(Displayable):
    """What was measured.

    Attributes:
        results: The numbers.
        path: The file that they were written to; None where there is no run.
        real: Which images are the real ones, in words.
        fake: Which images are the fakes, in words; empty where no metric looked at samples.
        left_out: Metrics of the usual list that could not be measured here, and why.
        advice: What to do where there are too few real images to judge by; empty where there are enough.
    """

    results: tuple[Result, ...]
    path: Path | None
    real: str
    fake: str
    left_out: Mapping[str, str]
    advice: str = ""

    def summary(self) -> Summary:
        """Return the numbers as a table, with what one must know to read them below it."""
        lines = [f"real: {self.real}", *([f"fake: {self.fake}"] if self.fake else [])]
        lines += sorted(set(_notes(self.results)))
        lines += [f"left out {name}: it {reason}" for name, reason in self.left_out.items()]
        lines += [self.advice] if self.advice else []
        lines += [f"kept in {self.path}"] if self.path else []
        return Summary(lines, Table(("measure", "value", "95 %", "interval from"), [*map(_row, self.results)]))

    def show(self, asked: Asked) -> Answer:
        """Return the numbers as a table, with what one must know to read them below it."""
        results = [result.as_dict() for result in self.results]
        data = {"run": asked.words["run"], "real": self.real, "fake": self.fake, "results": results}
        data |= {"out": str(self.path) if self.path else None, "left_out": dict(self.left_out)}
        return Answer(data, *self.summary())


def _row(result: Result) -> list[str]:
    ends = "" if result.low is None else f"{result.low:.4g} to {result.high:.4g}"
    return [result.name, f"{result.value:.5g} {result.unit}".strip(), ends, str(result.conditions.get("interval", ""))]


def null_words(result: Result) -> str:
    """Return what real images score against each other, and how to read the number beside it."""
    null, about = result.null or {}, result.conditions
    sizes = f"{null['n_real']:,} and {null['n_fake']:,}"
    more = f" (there are no more; of {about['n_real']:,} and {about['n_fake']:,} it would be less)"
    fewer = "" if _as_many(result) else more
    ends = f"{null['mean']:.4g} ({null['low']:.4g} to {null['high']:.4g} over {null['divisions']} divisions)"
    return f"two sets of real images, {sizes}{fewer}, are {ends} apart, and so would a perfect model's samples be"


def _as_many(result: Result) -> bool:
    """Return whether the sets of real images are as large as the two that were compared."""
    return all((result.null or {}).get(key) == result.conditions.get(key) for key in ("n_real", "n_fake"))


def _notes(results: tuple[Result, ...]) -> list[str]:
    """Return how good the features are, what real images score, and how images were resized."""
    notes = []
    for result in results:
        about = result.conditions
        if "features_quality" in about:
            notes.append(f"{about['features']}: {about['features_quality']}")
        if "value_of_real" in about:
            notes.append(f"{result.name} of the real images: {about['value_of_real']:.5g}")
        if result.null is not None and (_as_many(result) or "value_by_chance" not in about):
            notes.append(f"{result.name}: {null_words(result)}")
        elif "value_by_chance" in about:
            counts = f"{about['n_real']:,} and {about['n_fake']:,} images are few for {about['dimensions']} features"
            chance = f"as many, drawn from both sets together, have {about['value_by_chance']:.5g} by chance"
            notes.append(f"{result.name}: {counts}: {chance}; only what is above that is a difference")
        if "resize" in about:
            notes.append(f"resize: {about['resize']}")
    return notes


def check_sets(run: Any, real: Any, fake: Any, metrics: Names, **others: Any) -> None:
    """Refuse sets of images that do not go together, and metrics that there are not.

    Raises:
        SettingError: If there is neither a run nor two sets, a run and fakes at once, or no such metric.
    """
    if run is None and (real is None or fake is None):
        raise SettingError("run", run, "give a run, or two sets with --real and --fake (real= and fake= in Python)")
    if run is not None and fake is not None:
        raise SettingError(
            f"fake = {fake!r:.40}", rule="a run samples the fakes itself", way_out="leave one of them out"
        )
    from morphospace.tools.evaluate.measure import metrics_of

    metrics_of(metrics)


@tool(check=check_sets, help={"run": "The run's folder; leave it out to compare two sets of images."})
def evaluate(
    run: Run | str | Path | None = None,
    *,
    real: str | Pack | np.ndarray | None = None,
    fake: str | Pack | np.ndarray | None = None,
    metrics: Names = (),
    n: Annotated[int, Between(2, MOST)] | None = None,
    seed: Seed = 0,
    features: str | nn.Module = "",
    resize: Literal["legacy", "antialias"] = "legacy",
    prior: PriorName = "auto",
    real_split: str = "",
    fake_split: str = "",
    size: str | None = None,
    device: str = "auto",
    say: Callable[[str], None] = status,
) -> Evaluation:
    """Measure how close a run's samples, or any images, are to real ones, each number with its conditions.

    The real images are the test split where there is one, else the images held out of training, else the training
    images; the results say which. The scores of a run are kept in its `evaluation.json`, where a number replaces an
    earlier one of the same name and conditions.

    Args:
        run: A loaded run or its folder; leave it out to compare two sets.
        real: The real images: a source, folder:PATH or a pack, in Python also uint8 images (N, H, W, C); the run's own
            data if left out.
        fake: The images to compare with them, in place of a run's samples; resized to the size of the real ones.
        metrics: Which metrics, as fd,kid,is,pr,dc, or single numbers of them, as recall; default: those
            that apply.
        n: Number of fakes, and largest number of real images; 10,000 or as many as there are if left out.
        seed: Which samples, and the seed of every resampling.
        features: What distances are measured in: attributes, classifier, autoencoder, pixels, inception or
            inception:PATH, in Python also a network of your own that maps float32 images (B, C, H, W) in [0, 1] to
            (B, D). If left out, a classifier trained on the real data: of their attributes if they have any, else of
            their labels; without either, an autoencoder.
        resize: How images are resized for the Inception network.
        prior: The prior that the run is sampled from, as for `sample`.
        real_split: Which split of the real images; test where there is one if left out.
        fake_split: Which split of the fake images; likewise.
        size: Height and width that two sets are resized to, as 64 or 64x48.
        device: Where to compute features.
        say: Takes one line at a time for the user.

    Raises:
        SettingError: If a setting breaks a rule or a metric cannot be measured here; before any work is done.
    """
    check_ranges(evaluate, locals())
    check_sets(run, real, fake, metrics)
    from morphospace.tools.evaluate.measure import evaluated

    return evaluated(
        run,
        real,
        fake,
        metrics,
        n=n,
        size=size,
        splits=(real_split, fake_split),
        device=device,
        seed=seed,
        features=features,
        resize=resize,
        prior=prior,
        say=say,
    )
