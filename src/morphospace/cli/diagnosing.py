"""`morpho diagnose`: what is wrong with a run, and which flag to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from morphospace.cli.drawing import Checkpoint, Device, Raw, RunPath
from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer, Spoken, Table

if TYPE_CHECKING:
    from morphospace.tools.diagnose import Diagnosis


def diagnose(
    run: RunPath,
    /,
    *,
    n: Annotated[int, cyclopts.Parameter(help="Samples to draw, and held-out images to hold them against.")] = 500,
    seed: Annotated[int, cyclopts.Parameter(help="Of the samples.")] = 0,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Look a run over for collapse, copies and trouble in training, and say what to try."""
    import morphospace as ms

    found = ms.diagnose(ms.load(run, checkpoint=checkpoint, raw=raw, device=device), n=n, seed=seed)
    return Answer(found.as_dict(), _lines(found), Table(("measured", "value", "usual"), _rows(found.measured)))


# What a number is of, and what is usual; in the order of the table.
_WORDS = {
    "active_units": ("units that say something of the image", "most of them"),
    "kl_nats": ("what codes say, nats an image", "over 1"),
    "code_variance_ratio": ("variance of codes over the prior's, the median unit's", "1"),
    "code_mean_furthest": ("furthest mean of a unit's codes, in deviations", "0"),
    "ks_largest": ("largest distance of a unit from the prior", "below 0.25"),
    "mmd": ("squared discrepancy of codes and prior", "about 0"),
    "sample_spread": ("how much samples vary, real images 1", "0.5 to 1.2"),
    "duplicates": ("samples that have a double", "0"),
    "modes": ("classes that samples show", "as the next"),
    "modes_of_real": ("the same of images not trained on", ""),
    "nearest_training": ("samples' distance to the nearest training image", "as the next"),
    "nearest_training_of_unseen": ("the same of images not trained on", ""),
    "copies": ("samples that are copies of one training image", "as the next"),
    "copies_of_unseen": ("the same of images not trained on", ""),
}


def _rows(measured: dict[str, Any]) -> list[list[str]]:
    rows = []
    for key, (words, usual) in _WORDS.items():
        value = measured.get(key)
        if value is None:
            continue
        of = f" of {measured['units']}" if key == "active_units" else ""
        text = f"{value:.0%}" if key.startswith(("copies", "duplicates")) else f"{value:.4g}{of}"
        rows.append([words, text, usual])
    rough = measured.get("roughness") or {}
    return rows + [[f"roughness of the loss of {name}", f"{value:.3g}", ""] for name, value in rough.items()]


def _lines(found: Diagnosis) -> list[str]:
    word = "healthy" if found.severity == "note" else found.severity
    head = f"{found.run} at {found.images:,} images: {word}"
    if not found.findings:
        return [f"{head}; nothing to complain of"]
    lines = [head]
    for finding in found.findings:
        lines.append(f"{finding.severity}: {finding.name}: {finding.says}")
        lines += [f"  try: {finding.advice}"] if finding.advice else []
    return lines
