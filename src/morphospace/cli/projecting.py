"""`morpho score`: how strange a run finds images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from morphospace.cli.drawing import Checkpoint, Device, Raw, RunPath
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_parent, check_picture
from morphospace.cli.talk import Answer, Spoken
from morphospace.errors import SettingError, require

if TYPE_CHECKING:
    from morphospace.tools.score import Scored


SHOWN, COLUMNS = 32, 8

Seed = Annotated[int, cyclopts.Parameter(help="Of what is drawn.")]

# The flags of `score`.
Source = Annotated[str, cyclopts.Parameter(help="A source or a pack: fashion-mnist, folder:photos.")]
TableOut = Annotated[str, cyclopts.Parameter(help="The table to write, a .csv.")]
By = Annotated[
    Literal["elbo", "iwae", "reconstruction", "critic", "latent"],
    cyclopts.Parameter(
        help="Minus a bound on log p(x), squared error, minus the critic's judgement, or distance of codes."
    ),
]
Gallery = Annotated[str | None, cyclopts.Parameter(help="A .png of the strangest images over the most usual ones.")]
Strange = Annotated[
    str | None, cyclopts.Parameter(help="Labels of the images that are strange, as 4 or 4,9; adds AUROC.")
]
AgainstOwn = Annotated[
    bool,
    cyclopts.Parameter(
        help="All of SOURCE is strange, beside the run's own held-out images.", negative=(), show_default=False
    ),
]
Correct = Annotated[
    Literal["none", "complexity"],
    cyclopts.Parameter(help="Take an image's length as a PNG off a bound, which else finds simple images usual."),
]
Draws = Annotated[
    int | None, cyclopts.Parameter(help="Codes drawn for each image; 8 for elbo and 64 for iwae if left out.")
]
First = Annotated[int | None, cyclopts.Parameter(help="The first so many images; all if left out.")]


def check_file(name: str, path: str, suffix: str) -> Path:
    """Return the path of a file to write, looked at before any work is done.

    Raises:
        SettingError: It has another ending, or lies where nothing can be written.
    """
    file = Path(path)
    if file.suffix.lower() != suffix or file.is_dir():
        raise SettingError(name, path, f"must be a file name that ends in {suffix}")
    check_parent(file)
    return file


def score(
    run: RunPath,
    source: Source,
    /,
    *,
    out: TableOut,
    by: By = "elbo",
    gallery: Gallery = None,
    strange: Strange = None,
    against_own: AgainstOwn = False,
    correct: Correct = "none",
    draws: Draws = None,
    n: First = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Score images one by one into a table, higher for stranger; with AUROC where it is known which are strange."""
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    labels = [] if strange is None else [word.strip() for word in strange.split(",") if word.strip()]
    require(strange is None or bool(labels), "strange", strange, "must name labels, as 4 or 4,9")
    table = check_file("out", out, ".csv")
    picture = None if gallery is None else check_picture(gallery)
    import morphospace as ms
    from morphospace.tools.score import write_scores

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    how: dict[str, Any] = {"by": by, "correct": correct, "draws": draws, "n": n, "seed": seed}
    made = ms.score(loaded, source, strange=labels, against_own=against_own, **how)
    write_scores(table, made)
    facts: dict[str, Any] = {"run": str(loaded.path), "source": source, "by": by, "unit": made.unit, "seed": seed}
    facts |= {"n": len(made.scores), "correct": correct, "images": loaded.images, "raw": raw}
    if picture is not None:
        _gallery(picture, made, facts)
    return _scored(made, facts, table, picture)


def _gallery(path: Path, made: Scored, facts: dict[str, Any]) -> None:
    """Draw the strangest images over the most usual ones, a white row between."""
    import numpy as np

    from morphospace.pictures.sheet import grid, save_picture

    shown = min(SHOWN, len(made.scores) // 2 or 1)
    halves = [made.strangest(shown), made.strangest(shown, least=True)]
    white = np.full((COLUMNS + (-shown % COLUMNS), *halves[0].shape[1:]), 255, np.uint8)
    sheet = grid(np.concatenate([halves[0], white, halves[1]]), COLUMNS)
    save_picture(path, sheet, {**facts, "rows": f"{shown} strangest, {shown} most usual"})


def _scored(made: Scored, facts: dict[str, Any], table: Path, picture: Path | None) -> Answer:
    """Say what scores there are, and how well they tell."""
    import numpy as np

    quantiles = np.quantile(made.scores, (0, 0.25, 0.5, 0.75, 1)).tolist()
    five = "  ".join(f"{value:.5g}" for value in quantiles)
    lines = [
        f"{' and '.join(made.sources)} by {made.by}, in {made.unit}; higher is stranger: {table}",
        f"least, quarter, median, three quarters, most: {five}",
    ]
    data = {"out": str(table), **facts, "sources": list(made.sources), "quantiles": quantiles}
    if made.auroc is not None:
        a = made.auroc
        lines.append(
            f"AUROC {a.value:.3f} ({a.low:.3f} to {a.high:.3f}), {a.strange:,} strange of {a.usual + a.strange:,}"
        )
        data["auroc"] = {"value": a.value, "low": a.low, "high": a.high, "strange": a.strange, "usual": a.usual}
    if picture is not None:
        lines.append(f"the strangest over the most usual: {picture}")
        data["gallery"] = str(picture)
    return Answer(data, lines)
