"""What a metric is, and the metrics by name; free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING

from morphospace.evaluation.results import Better, Result
from morphospace.plugins import Registry

if TYPE_CHECKING:
    from morphospace.tools.evaluate.evidence import Evidence

Measure = Callable[["Evidence"], list[Result]]
Refusal = Callable[["Evidence"], str]


@dataclass(frozen=True)
class Metric:
    """Something that can be measured.

    Attributes:
        about: What it is, in a few words, for the line that says what is being measured.
        measure: Evidence to results.
        refusal: Why it cannot be measured here and the way out; empty where it can.
        better: Short names of its numbers, in the order in which `measure` returns them, and which way is better; empty
            where neither is. Results beyond these set `Result.better` themselves.
        usual: Whether it is measured when none is named, where it can be.
    """

    about: str
    measure: Measure
    refusal: Refusal = lambda evidence: ""
    better: Mapping[str, Better] = field(default_factory=dict)
    usual: bool = False


usual_metric = partial(Metric, usual=True)
METRICS: Registry[Metric] = Registry("metric")


def metric(
    name: str, about: str, *, better: Mapping[str, Better], refusal: Refusal = lambda evidence: "", usual: bool = False
) -> Callable[[Measure], Measure]:
    """Register the function that measures as the metric `name`; the other arguments are the fields of `Metric`."""

    def register(measure: Measure) -> Measure:
        METRICS.register(name, Metric(about, measure, refusal, better, usual), measure.__module__)
        return measure

    return register


def measured(name: str, evidence: Evidence) -> list[Result]:
    """Measure by the metric `name`, and write on each result which metric it is of and which way is better."""
    ways: Iterable[Better] = chain(METRICS[name].better.values(), repeat(""))
    results = METRICS[name].measure(evidence)
    return [replace(result, metric=name, better=result.better or way) for result, way in zip(results, ways)]


def numbers() -> dict[str, tuple[str, Better]]:
    """Return, for each number that a metric gives, the metric and which way is better."""
    return {number: (name, better) for name, one in METRICS.items() for number, better in one.better.items()}
