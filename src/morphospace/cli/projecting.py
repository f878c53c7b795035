"""`morpho project`, `train-encoder` and `score`: images into a run's space, and how strange it finds them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from morphospace.cli.drawing import Checkpoint, Device, Out, Raw, RunPath
from morphospace.cli.flags import Json
from morphospace.cli.paths import check_parent, check_picture
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.errors import SettingError, require
from morphospace.tools.tool import read_attributes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from morphospace import Run
    from morphospace.tools.score import Scored


SHOWN, COLUMNS = 32, 8

# The flags of `project`.
Picture = Annotated[str, cyclopts.Parameter(help="Files, numbers of held-out images, or train:NUMBER.")]
Refine = Annotated[
    int | None, cyclopts.Parameter(help="Steps of optimisation; 0 after an encoder and 300 without one if left out.")
]
Starts = Annotated[
    int | None, cyclopts.Parameter(help="Codes to search from; 1 with an encoder and 8 without one if left out.")
]
Keep = Annotated[
    Literal["prior", "sphere", "free"] | None,
    cyclopts.Parameter(help="What keeps codes plausible: log N(z), the sphere of radius sqrt(z), or nothing."),
]
Code = Annotated[str | None, cyclopts.Parameter(help="Keep the codes in this .json, for --from and --to.")]
Label = Annotated[str | None, cyclopts.Parameter(help="The class that files show, for a conditional model.")]
Attributes = Annotated[str | None, cyclopts.Parameter(help="The same by attributes, as Smiling=1,Male=0.")]
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


def project(
    run: RunPath,
    /,
    *pictures: Picture,
    out: Out,
    refine: Refine = None,
    starts: Starts = None,
    keep: Keep = None,
    code: Code = None,
    label: Label = None,
    attributes: Attributes = None,
    seed: Seed = 0,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Find the codes of pictures, and draw each beside what its code decodes to.

    By the run's encoder where it has one, or one was trained for it; else by optimisation from several starts.
    """
    require(bool(pictures), "pictures", list(pictures), "name one at least, a file or the number of a held-out image")
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    require(label is None or attributes is None, "label", label, "does not go with --attributes", "ask for one of them")
    wanted = None if attributes is None else read_attributes(attributes)
    path = check_picture(out)
    codes = None if code is None else check_file("code", code, ".json")
    import json as encoding

    import morphospace as ms
    from morphospace.files import write_text
    from morphospace.pictures.sheet import grid, save_picture

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    condition = _condition(loaded, label, wanted)
    made = ms.project(loaded, pictures, refine=refine, starts=starts, keep=keep, condition=condition, seed=seed)
    facts = {"run": str(loaded.path), "images": loaded.images, "raw": raw, "how": made.how, "seed": seed}
    told = {"pictures": list(made.words), "mse": made.mse.tolist()}
    save_picture(path, grid(*_beside(made.originals, made.images)), {**facts, **told, "order": "original, projection"})
    if codes is not None:
        write_text(codes, encoding.dumps({**facts, **made.to_json()}) + "\n")
    rows = [[w, f"{m:.5f}", f"{p:.1f}"] for w, m, p in zip(made.words, made.mse, made.psnr)]
    kept = {} if codes is None else {"code": str(codes)}
    where = "the original on the left" if len(rows) == 1 else "originals over projections"
    lines = [f"by {made.how}, {where}: {path}", *(f"codes: {file}" for file in kept.values())]
    # JSON has no infinity, the ratio of a picture to itself.
    ratios = [float(p) if math.isfinite(p) else None for p in made.psnr]
    data = {"out": str(path), **facts, **told, "psnr": ratios, **kept}
    return Answer(data, lines, Table(("picture", "mse", "psnr dB"), rows))


def _beside(originals: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, int]:
    """Return one picture beside its projection, or rows of several over theirs, and how many are in a row."""
    import numpy as np

    from morphospace.pictures.sheet import interleave

    if len(images) == 1:
        return np.concatenate([originals, images]), 2
    columns = min(len(images), COLUMNS)
    white = np.full((-len(images) % columns, *images.shape[1:]), 255, np.uint8)  # fills the last row
    return interleave(np.concatenate([originals, white]), np.concatenate([images, white]), columns), columns


def _condition(run: Run, label: str | None, attributes: dict[str, float] | None) -> Tensor | None:
    """Return what a conditional model is told of files."""
    from morphospace.runs.codes import condition_for

    if label is None and attributes is None:
        return None
    condition = condition_for(run.model, 1, label, attributes)
    assert condition is not None
    return condition[0]


def train_encoder(
    run: RunPath,
    /,
    *,
    images: Annotated[int, cyclopts.Parameter(help="How many generated images to train on.")] = 100_000,
    minutes: Annotated[float | None, cyclopts.Parameter(help="Stop earlier when so many have passed.")] = None,
    real: Annotated[
        bool,
        cyclopts.Parameter(
            help="Train on the run's own images too, by how well they are rebuilt.", negative=(), show_default=False
        ),
    ] = False,
    seed: Seed = 0,
    checkpoint: Checkpoint = "",
    raw: Raw = False,
    device: Device = "auto",
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Train an encoder for a run that has none, a GAN for instance, and keep it with the run's checkpoint.

    Then reconstruct, interpolate, pca, attribute and the others work for the run as they do for a VAE.
    """
    require(0 <= seed < 2**63, "seed", seed, "must be from 0 to 2**63 - 1")
    import morphospace as ms
    from morphospace.models.contract import Encodes
    from morphospace.runs.encoder import encoder_file

    loaded = ms.load(run, checkpoint=checkpoint, raw=raw, device=device)
    if not isinstance(loaded.model, Encodes):  # with one of its own it is refused below
        name = loaded.configuration.model.name
        talk.say(f"an encoder for {name} at {loaded.images:,} images, the generator as it is")

    def told(seen: int, loss: float) -> None:
        share = min(1.0, seen / images)
        talk.say(f"  {seen:,}/{images:,} images  {share:.0%}  loss {loss:.4g}")

    made = ms.train_encoder(loaded, images=images, minutes=minutes, real=real, seed=seed, told=told)
    file = encoder_file(loaded)
    data = {"run": str(loaded.path), "encoder": str(file), "images": made.images, "real": real}
    data |= {"cosine": made.cosine, "mse": made.mse, "spread": made.spread}
    lines = [
        f"on new images: cosine of codes {made.cosine:.3f}, squared error a pixel {made.mse:.5f}"
        f" (two generated images differ by {made.spread:.5f}): {file}",
        f"next morpho reconstruct {run} --out reconstructions.png",
    ]
    return Answer(data, lines)


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
