"""Held-out images, judged by the training objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from morphospace.data.batches import Batch
from morphospace.objectives.phase import Phase
from morphospace.training.events import Validated
from morphospace.training.turn import EngineTurn

if TYPE_CHECKING:
    from morphospace.training.engine import Engine


def validated(engine: Engine) -> Validated | None:
    """Judge the held-out images by the phases that validate, with the averaged weights where there are any."""
    phases = [phase for phase in engine.phases if phase.validates]
    if not phases or engine.valid is None:
        return None
    with engine.judging():
        totals, loss, count = _summed(engine, phases, engine.valid.sequential())
    return Validated(engine.clock, {name: value / count for name, value in totals.items()}, loss / count)


def _summed(engine: Engine, phases: Sequence[Phase], batches: Iterator[Batch]) -> tuple[dict[str, float], float, int]:
    """Sum every term over batches, weighted by their sizes."""
    totals: dict[str, float] = {}
    loss, count, clock = 0.0, 0, engine.clock
    for index, batch in enumerate(batches):
        size = len(batch.images)
        for phase in phases:
            turn = EngineTurn(engine, clock, phase.name, index, training=False)
            turn.seed(f"{phase.name}/validation")
            with engine.autocast():
                terms = phase.loss(batch, turn)
            loss += float(terms.total()) * size
            for name, mean in terms.means.items():
                key = f"{phase.name}/{name}"
                totals[key] = totals.get(key, 0.0) + float(mean) * size
        count += size
    return totals, loss, count
