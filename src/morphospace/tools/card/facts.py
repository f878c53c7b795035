"""The model card of a run: what it says is gathered from the run's files, and `card.md` says what stands where."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphospace.data.sources import SOURCES
from morphospace.errors import command, spelled_out
from morphospace.evaluation.results import Result
from morphospace.files import without_folders
from morphospace.models.contract import Encodes, Scores
from morphospace.pictures.diagram import formula
from morphospace.pictures.pages import render
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import last_values
from morphospace.runs.run import Run
from morphospace.tools.evaluate.measure import read
from morphospace.training.anatomy import Anatomy

EVALUATION = "evaluation.json"
# A likelihood's number compares only with others of the same kind; these say of each word in the history what it is.
MEANINGS = {
    "loss": "what was minimised, nats an image unless the settings say otherwise",
    "reconstruction": "-log p(x given z), nats an image",
    "kl": "KL(q(z given x) from the prior), nats an image",
    "mse": "mean squared error a pixel, in the model's range",
    "bits_per_dim": "bits a value of the image",
}


def card_text(facts: Mapping[str, Any]) -> str:
    """Return the card, with the header that Hugging Face reads. JSON strings are YAML strings: no name can break it."""
    functions = {"cell": cell, "code": code, "command": command, "json": json.dumps, "repr": repr, "meanings": MEANINGS}
    return render("tools/card/card.md", **facts, **functions)


def in_one_line(text: str) -> str:
    """Return text with single spaces, and control signs spelled out: a terminal may show the card."""
    return spelled_out(" ".join(text.split()))


def cell(text: str) -> str:
    """Return text as Markdown that shows just this text: no link, picture, HTML or emphasis, in one line or cell."""
    return re.sub(r"[\\`*$<>|]|(?<=\])\(", r"\\\g<0>", in_one_line(text))


def code(text: str) -> str:
    """Return text as Markdown's code, in one line or cell.

    >>> print(code("a`b"))
    `a'b`
    """
    return f"`{in_one_line(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def facts_of(run: Run, anatomy: Anatomy, picture: str, address: str = "", page: str = "") -> dict[str, Any]:
    """Gather what a card says, by the names that the template has for it.

    Args:
        run: The run.
        anatomy: Its networks and phases.
        picture: Name of the diagram's file beside the card; empty if there is none.
        address: Where a reader of the card loads the run from; empty if from a folder of its name.
        page: Name of the file beside the card that decodes by itself; empty if there is none.
    """
    model, settings, facts = run.model, run.configuration.model, run.folder.facts
    last = last_values(run.folder.read_metrics())
    logged = {name: v for name, v in last.items() if "/" in name and isinstance(v, int | float)}
    valid = {name: v for name, v in logged.items() if name.startswith("valid/")}
    known = SOURCES.get(run.configuration.data.data.partition(":")[0])
    info = None if known is None or facts.get("data_given") else known.info
    return {
        "title": run.folder.name,
        "name": run.path.resolve().name,
        "address": address or run.path.resolve().name,
        "page": page,
        "model": settings.name,
        "about": inspect.cleandoc(type(settings).__doc__ or "").splitlines()[0],
        "paper": settings.paper,
        "shape": run.folder.shape,
        "latent_dim": model.latent_dim,
        "condition": model.conditioning.names if model.conditioning else (),
        "can": [word for word, what in (("encode", Encodes), ("score", Scores)) if isinstance(model, what)],
        "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in model.networks.items()},
        "data": run.data_name,
        "data_about": info.description if info else "",
        "data_hash": str(facts["data_hash"]),
        "licence": info.licence if info else "",
        "source": info.where if info and info.where.startswith("http") else "",
        "picture": picture,
        "phases": [(phase.name, phase.learns, formula(phase)) for phase in anatomy.phases],
        "adopted": bool(facts.get("adopted")) or not anatomy.phases,
        "custom": model.custom,
        "settings": changed(run),
        "images_trained": int(last.get("images", run.images)),
        "images_taken": run.images,
        "epochs": float(last.get("epoch") or 0.0),
        "seconds": float(last.get("seconds") or 0.0),
        "history": valid or logged,
        "held_out": bool(valid),
        "results": evaluated(run.folder.place / EVALUATION),
        "versions": dict(facts.get("versions", {})),
        "created": str(facts.get("created", "")),
    }


def changed(run: Run) -> dict[str, Any]:
    """Return the settings that differ from the model's defaults, by their plain names."""
    mine = run.configuration.described()
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
    results = [Result.read(without_folders(row)) for row in read(file)]
    return [(one.name, one.text(), ", ".join(f"{k} {v}" for k, v in one.conditions.items())) for one in results]
