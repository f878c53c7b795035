"""What a model card says of a run, gathered from its files."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from morphospace.data.sources import SOURCES
from morphospace.errors import RunError
from morphospace.evaluation.results import Result
from morphospace.models.contract import Encodes, Scores
from morphospace.roles import DESCRIPTIVE
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import last_values
from morphospace.runs.run import Run
from morphospace.tools.card.text import CardFacts

EVALUATION = "evaluation.json"


def facts_of(run: Run) -> CardFacts:
    """Gather what a card says."""
    model, settings, facts = run.model, run.configuration.model, run.folder.facts
    history = last_values(run.folder.read_metrics())
    known = SOURCES.get(run.configuration.data.data.partition(":")[0])
    info = None if known is None or facts.get("data_given") else known.info
    can = [word for word, what in (("encode", Encodes), ("score", Scores)) if isinstance(model, what)]
    return CardFacts(
        name=run.path.resolve().name,
        model=settings.name,
        about=inspect.cleandoc(type(settings).__doc__ or "").splitlines()[0],
        paper=settings.paper,
        shape=run.folder.shape,
        latent_dim=model.latent_dim,
        condition=model.conditioning.names if model.conditioning else (),
        can=tuple(can),
        parameters={name: sum(p.numel() for p in net.parameters()) for name, net in model.networks.items()},
        data=run.data_name,
        data_about=info.description if info else "",
        data_hash=str(facts["data_hash"]),
        licence=info.licence if info else "",
        source=info.where if info and info.where.startswith("http") else "",
        settings=changed(run),
        images_trained=int(history.get("images", run.images)),
        images_taken=run.images,
        epochs=float(history.get("epoch", 0.0)),
        seconds=float(history.get("seconds", 0.0)),
        metrics={name: v for name, v in history.items() if "/" in name and isinstance(v, int | float)},
        results=evaluated(run.path / EVALUATION),
        versions=dict(facts.get("versions", {})),
        created=str(facts.get("created", "")),
    )


def changed(run: Run) -> dict[str, Any]:
    """Return the settings that differ from the model's defaults, by their plain names."""
    mine = run.configuration.to_dict(*DESCRIPTIVE)
    usual = resolve(run.configuration.model.name).to_dict()
    return {
        name: value
        for section, values in mine.items()
        for name, value in values.items()
        if usual[section].get(name) != value
    }


def evaluated(file: Path) -> list[tuple[str, str, str]]:
    """Return the rows of an evaluation: name, value and what it was measured on.

    Raises:
        RunError: If the file is no evaluation.
    """
    if not file.is_file():
        return []
    try:
        results = [Result(**row) for row in json.loads(file.read_text(encoding="utf-8"))["results"]]
        return [(one.name, one.text(), ", ".join(f"{k} {v}" for k, v in one.conditions.items())) for one in results]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        name = str(file.parent)
        raise RunError("run", name, f"{file.name} cannot be read ({error!r})", "evaluate it again") from None
