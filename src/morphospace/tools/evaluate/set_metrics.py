"""Metrics of two sets of images: distances between them, with intervals and conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphospace.data.batches import permutation
from morphospace.data.pack import Pack, Split, class_count, in_memory_pack
from morphospace.evaluation.distances import (
    density_coverage,
    frechet_distance,
    half_samples_error,
    inception_score,
    kernel_distance,
    kernel_distance_subsets,
    precision_recall,
)
from morphospace.evaluation.features import Extractor, extracted
from morphospace.evaluation.intervals import student
from morphospace.evaluation.modes import modes_of
from morphospace.evaluation.results import Result
from morphospace.tools.evaluate.evidence import Evidence, features_of
from morphospace.tools.evaluate.extractors import extractor_for
from morphospace.tools.evaluate.metric import Metric, usual_metric

RESAMPLES = {"frechet": 20, "neighbours": 10}
SUBSETS, SUBSET = 100, 1000
DIVISIONS = 4
FEW, NULLS = 5_000, 5
"""Below so many images of either set, a Frechet distance is set beside that of real images, divided so many times."""
SPLITS = 10
STACKED = "stacked-mnist"


def frechet(evidence: Evidence) -> list[Result]:
    """Measure the Frechet distance. It is called FID only with the features that define FID."""
    name = f"FID-{evidence.n}" if evidence.kind == "inception" else "FD"
    return [replace(distance_of(evidence, name, **_by_chance(evidence)), null=_null(evidence))]


def distance_of(evidence: Evidence, name: str, **more: float) -> Result:
    """Return the Frechet distance of real images and fakes, with its interval, under a name."""
    fake = evidence.fake_features.features
    value = frechet_distance(real=evidence.real_statistics, fake=fake)
    half_widths, how = _half_widths(evidence, 2, RESAMPLES["frechet"], lambda a, b: (frechet_distance(real=a, fake=b),))
    return _within(evidence, name, value, half_widths[0], how, least=0, **more)


def _null(evidence: Evidence) -> dict[str, Any] | None:
    """Return the distance of real images from other real images, in sets of the sizes that were compared.

    It is what a perfect model would score. Where there are too few real images, the sets are smaller, in the same
    proportion. None if it was not asked for, or both sets are so large that it is about 0.
    """
    sizes = (len(evidence.real.rows), evidence.n)
    if not evidence.null or min(sizes) >= FEW:
        return None
    others = evidence.real.further(sum(sizes) - sizes[0])
    features = [features_of(side, evidence.extractor, evidence.say)[0].features for side in others]
    pool = torch.cat([evidence.real_features.features, *features])
    share = min(1.0, len(pool) / sum(sizes))
    first, second = (int(size * share) for size in sizes)
    if min(first, second) < 2:
        return None
    found = []
    for time in range(NULLS):
        order = torch.from_numpy(permutation(len(pool), evidence.seed, "null", time))
        one, other = pool[order[:first]], pool[order[first : first + second]]
        found.append(frechet_distance(real=one, fake=other))
    ends = {"mean": sum(found) / NULLS, "low": min(found), "high": max(found)}
    return {**ends, "divisions": NULLS, "n_real": first, "n_fake": second}


def _by_chance(evidence: Evidence) -> dict[str, float]:
    """Return, for sets of fewer images than features, the distance of equally many images that do not differ.

    Both sets are put together and divided at random: a permutation test. Such a distance is mostly the counts'.
    """
    real, fake = evidence.real_features.features, evidence.fake_features.features
    if min(len(real), len(fake)) >= real.shape[1]:
        return {}
    pooled, found = torch.cat([real, fake]), []
    for time in range(DIVISIONS):
        order = torch.from_numpy(permutation(len(pooled), evidence.seed, "by chance", time))
        found.append(frechet_distance(real=pooled[order[: len(real)]], fake=pooled[order[len(real) :]]))
    return {"value_by_chance": sum(found) / DIVISIONS, "dimensions": real.shape[1]}


def kernel(evidence: Evidence) -> list[Result]:
    """Measure the kernel distance, with an interval from subsets."""
    real, fake = evidence.real_features.features, evidence.fake_features.features
    value, fewest = kernel_distance(real=real, fake=fake), min(len(real), len(fake))
    size = min(SUBSET, fewest // 2)
    if size < 2:
        return [_within(evidence, "KID", value, None, "none: too few images")]
    subsets = kernel_distance_subsets(real=real, fake=fake, subsets=SUBSETS, size=size, seed=evidence.seed)
    # Subsets are smaller than the sets and overlap, which the delete-d jackknife accounts for.
    half_width = student(SUBSETS - 1) * float(subsets.std()) * (size / (fewest - size)) ** 0.5
    how = f"95 %, {SUBSETS} subsets of {size:,}"
    return [_within(evidence, "KID", value, half_width, how)]


def inception(evidence: Evidence) -> list[Result]:
    """Measure the Inception Score of the fakes, and that of the real images."""
    of_fake, of_real = evidence.fake_features.probabilities, evidence.real_features.probabilities
    assert of_fake is not None and of_real is not None
    splits = min(SPLITS, len(of_fake), len(of_real))
    score = inception_score(of_fake, splits=splits, seed=evidence.seed)
    half_width = student(splits - 1) * score.deviation / splits**0.5 if splits > 1 else None
    how = f"95 % of the mean of {splits} shuffled splits" if splits > 1 else "none: one image"
    real = inception_score(of_real, splits=splits, seed=evidence.seed).mean
    return [_within(evidence, "IS", score.mean, half_width, how, least=1, value_of_real=real)]


def manifolds(evidence: Evidence) -> list[Result]:
    """Measure precision and recall."""

    def measure(real: Tensor, fake: Tensor) -> tuple[float, float]:
        found = precision_recall(real=real, fake=fake, k=3)
        return found.precision, found.recall

    return _neighbours(evidence, ("precision", "recall"), 3, measure, (1.0, 1.0))


def balls(evidence: Evidence) -> list[Result]:
    """Measure density and coverage."""

    def measure(real: Tensor, fake: Tensor) -> tuple[float, float]:
        found = density_coverage(real=real, fake=fake, k=5)
        return found.density, found.coverage

    return _neighbours(evidence, ("density", "coverage"), 5, measure, (None, 1.0))


def _neighbours(
    evidence: Evidence,
    names: tuple[str, str],
    k: int,
    measure: Callable[[Tensor, Tensor], tuple[float, float]],
    most: tuple[float | None, float | None],
) -> list[Result]:
    values = measure(evidence.real_features.features, evidence.fake_features.features)
    half_widths, how = _half_widths(evidence, k + 1, RESAMPLES["neighbours"], measure)
    return [
        _within(evidence, name, value, half_width, how, least=0, most=top, k=k)
        for name, value, half_width, top in zip(names, values, half_widths, most)
    ]


def _half_widths(
    evidence: Evidence, fewest: int, resamples: int, measure: Callable[[Tensor, Tensor], tuple[float, ...]]
) -> tuple[tuple[float | None, ...], str]:
    """Return half the widths of 95 % intervals, and how they were computed.

    There is no interval if half a set has fewer than `fewest` images.
    """
    real, fake = evidence.real_features.features, evidence.fake_features.features
    if min(len(real), len(fake)) // 2 < fewest:
        return (None, None), "none: too few images"
    how: dict[str, Any] = {"resamples": resamples, "seed": evidence.seed, "paired": evidence.paired}
    errors = half_samples_error(measure, real=real, fake=fake, **how)
    half_widths = tuple(student(resamples - 1) * error for error in errors)  # few resamples: not 1.96
    return half_widths, f"95 %, {resamples} half samples of {'the pairs' if evidence.paired else 'both sets'}"


def _within(
    evidence: Evidence,
    name: str,
    value: float,
    half_width: float | None,
    how: str,
    *,
    least: float | None = None,
    most: float | None = None,
    **more: float,
) -> Result:
    """Return a result with the interval value +- `half_width`, clipped to [least, most]."""
    low = high = None
    if half_width is not None:
        low, high = value - half_width, value + half_width
        low, high = low if least is None else max(least, low), high if most is None else min(most, high)
    conditions = evidence.feature_conditions(interval=how, **more)
    return Result(f"{name}[{evidence.extractor.name}]", value, low, high, conditions=conditions)


def _too_few(least: int) -> Callable[[Evidence], str]:
    def refusal(evidence: Evidence) -> str:
        real, fake = len(evidence.real.rows), evidence.n
        if min(real, fake) >= least:
            return ""
        way_out = evidence.real.more if real < least else "raise n" if evidence.fake is None else "take more fakes"
        return f"needs at least {least} images of each set, there are {min(real, fake)}; {way_out}"

    return refusal


def _unclassified(evidence: Evidence) -> str:
    if evidence.kind in ("classifier", "inception"):
        return ""
    instead = "classifier" if class_count(_first(evidence.real.pack)) > 1 else "inception"
    return f"needs class probabilities, which {evidence.kind} features have none of; use features {instead}"


# -- modes ---------------------------------------------------------------------------------------------------------


def _no_modes(evidence: Evidence) -> str:
    """Return why modes cannot be counted; empty where they can."""
    if class_count(_first(evidence.real.pack)) < 2:
        return "needs data of several classes; take another metric"
    return ""


def modes(evidence: Evidence) -> list[Result]:
    """Count the classes that the fakes show, and measure how far their shares are from those of the data."""
    pack = evidence.real.pack
    labels = _first(pack).labels
    assert labels is not None
    stacked = pack.name == STACKED
    judge = extractor_for("classifier", _digits(pack) if stacked else pack, device=evidence.device, say=evidence.say)
    expected = torch.bincount(torch.tensor(np.asarray(labels, dtype=np.int64)), minlength=1000 if stacked else 0)
    made = modes_of(_seen(judge, evidence.fake_images, stacked), expected)
    real = modes_of(_seen(judge, evidence.real_images, stacked), expected)
    of = f"classes of {len(expected):,}, by one image each" + (", a digit a channel" if stacked else "")
    quality = {"features_quality": judge.quality} if judge.quality else {}
    about = evidence.conditions(features=judge.name, of=of, interval="none", **quality)
    counted = {"with_a_quarter_of_their_share": made.shared, "value_of_real": real.found}
    name = judge.name
    return [
        Result(f"modes[{name}]", made.found, conditions=about | counted),
        Result(f"modes, KL[{name}]", made.kl, unit="nats", conditions=about | {"value_of_real": real.kl}),
    ]


def _seen(judge: Extractor, images: np.ndarray, stacked: bool) -> Tensor:
    """Return the mode of each image, (N,)."""
    channels = [images[..., i : i + 1] for i in range(3)] if stacked else [images]
    seen = torch.zeros(len(images), dtype=torch.int64)
    for channel in channels:
        probabilities = extracted(judge, np.ascontiguousarray(channel)).probabilities
        assert probabilities is not None
        seen = 10 * seen + probabilities.argmax(1)
    return seen


def _digits(pack: Pack) -> Pack:
    """Return the red channel of Stacked MNIST as a pack: single digits with their labels."""
    splits: dict[str, Any] = {}
    for name, split in pack.splits.items():
        assert split.labels is not None
        splits[name] = Split(
            np.ascontiguousarray(np.asarray(split.images[:])[..., :1]), np.asarray(split.labels) // 100
        )
    return in_memory_pack(f"{pack.name}, digits", **splits)


def _first(pack: Pack) -> Split:
    return pack.split("train" if "train" in pack.splits else next(iter(pack.splits)))


SET_METRICS: Mapping[str, Metric] = {
    "fd": usual_metric("Frechet distance", frechet, _too_few(2), {"fd": "lower"}),
    "kid": usual_metric("kernel distance", kernel, _too_few(2), {"kid": "lower"}),
    "is": usual_metric("Inception Score", inception, _unclassified, {"is": "higher"}),
    "pr": usual_metric(
        "precision and recall, k = 3", manifolds, _too_few(4), {"precision": "higher", "recall": "higher"}
    ),
    "dc": usual_metric("density and coverage, k = 5", balls, _too_few(6), {"density": "higher", "coverage": "higher"}),
    "modes": Metric(
        "classes that samples show, and how evenly", modes, _no_modes, {"modes": "higher", "modes-kl": "lower"}
    ),
}
