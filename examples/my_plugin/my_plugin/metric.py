"""The metric `brightness`: how far the mean brightness of the samples is from that of the real images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphospace.evaluation.results import Result
from morphospace.tools.evaluate.metric import metric

if TYPE_CHECKING:
    from morphospace.tools.evaluate.evidence import Evidence


@metric("brightness", "difference in mean brightness", better={"brightness": "lower"})
def brightness(evidence: Evidence) -> list[Result]:
    """Measure the absolute difference of the mean pixels, in [0, 255]."""
    difference = abs(float(evidence.real_images.mean()) - float(evidence.fake_images.mean()))
    return [Result("brightness", difference, conditions=evidence.conditions(interval="none"))]
