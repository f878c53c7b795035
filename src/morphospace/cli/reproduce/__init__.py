"""`morpho reproduce`: train what a published source shows, in minutes, and put all its figures on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer, Spoken, Table
from morphospace.files import check_folder

Name = Literal["celeba-notes", "faces-deep-dive", "lesson", "note"]


def reproduce(
    source: Annotated[
        Name,
        Parameter(
            help="celeba-notes: a VAE and a GAN of CelebA; faces-deep-dive: a VAE of faces, with masks; lesson: VAEs "
            "and GANs of MNIST, and its exercise on Fashion-MNIST; note: VAEs of MNIST."
        ),
    ],
    /,
    *,
    data: Annotated[
        str | None,
        Parameter(
            help="Your own images in place of the source's, as folder:PATH. If left out and the source's files are not "
            "here, drawn faces (toyfaces) or embedded digits."
        ),
    ] = None,
    out: Annotated[
        str, Parameter(help="Folder of the page, its runs and its figures; sources share the runs in it.")
    ] = "reproduced",
    quick: Annotated[
        bool,
        Parameter(
            help="Train for seconds on embedded images: tries the commands only.", negative=(), show_default=False
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        Parameter(help="List trainings, figures and minutes; leave nothing behind.", negative=(), show_default=False),
    ] = False,
    json: Json = False,
    talk: Spoken,
) -> Answer:
    """Train small twins of what a source trains, and write one page with every figure of it.

    Type the same command again to continue after an interruption.
    """
    from morphospace.cli.reproduce.plan import Setup, relative_data
    from morphospace.cli.reproduce.sources import SOURCES

    path = check_folder(out, holds=MARK, what="folder of reproductions")
    setup = Setup(source, "" if data is None else relative_data(data, path), quick)
    planned = SOURCES[source](setup)
    if dry_run:
        return _listed(planned)
    from morphospace.cli.reproduce.work import carried_out

    return carried_out(planned, setup, path, talk)


MARK = "answers.json"


def _listed(planned: Any) -> Answer:
    """Return what would be trained and drawn."""
    from morphospace.cli.reproduce.plan import as_typed

    trainings = [
        {
            "path": one.path,
            "recipe": one.recipe,
            "data": one.data,
            "minutes": one.minutes,
            "command": as_typed(one.words),
        }
        for one in planned.trainings
    ]
    figures = [{"name": figure.key, "title": figure.title, "claim": figure.claim} for figure in planned.figures]
    minutes = round(sum(one.minutes for one in planned.trainings) + planned.minutes, 1)
    rows = [[Path(one.path).name, one.recipe, one.data, f"{one.minutes:.2g}"] for one in planned.trainings]
    lines = ["", f"{len(figures)} figures, {planned.minutes:g} minutes beside the trainings:"]
    lines += [f"  {figure.key:24}{figure.title}" for figure in planned.figures]
    lines += ["", f"{minutes:.0f} minutes of one CPU core in all; runs that are finished already are used again"]
    table = Table(("run", "recipe", "data", "minutes"), rows)
    return Answer(
        {"source": planned.name, "trainings": trainings, "figures": figures, "minutes": minutes}, lines, table
    )
