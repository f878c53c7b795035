"""The page of a reproduction: one file that needs nothing beside it. `page.html` says what stands where."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from morphospace import __version__
from morphospace.cli.reproduce.plan import Figure, Said, Setup, Source, Training, as_typed
from morphospace.errors import MorphospaceError
from morphospace.files import read_bytes, write_text
from morphospace.pictures.pages import png_data, render
from morphospace.runs.configuration import recipe_named, resolve

MOST = 64_000_000  # bytes of a film
VERDICTS = {True: "It holds here.", False: "It does not hold here.", None: "Not decided by this measurement."}


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Attributes:
        training: What was asked for.
        images: Images seen, by all its runs.
        seconds: Time in training steps.
        data: The images and their size, in words.
    """

    training: Training
    images: int
    seconds: float
    data: str


@dataclass(frozen=True)
class Drawn:
    """A figure that was carried out.

    Attributes:
        figure: The figure.
        said: What is said of it; None if it could not be made.
        failed: Why it could not be made; empty if it was.
        error: The error behind that.
    """

    figure: Figure
    said: Said | None = None
    failed: str = ""
    error: MorphospaceError | None = None


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it.

    Attributes:
        caption: What it shows.
        width: In pixels.
        height: In pixels.
        data: A data URI.
        still: The first frame of a film, for those who want no motion; empty for a picture.
    """

    caption: str
    width: int
    height: int
    data: str
    still: str = ""


def write_page(path: Path, source: Source, setup: Setup, trained: Sequence[Trained], drawn: Sequence[Drawn]) -> None:
    """Write the page of a source.

    Args:
        path: Where to.
        source: The source.
        setup: Whose images it shows, and in how much time.
        trained: What was trained.
        drawn: Its figures.
    """
    page = render(
        "cli/reproduce/page.html",
        source=source,
        quick=setup.quick,
        again=as_typed(_again(source.name, setup)),
        version=__version__,
        trained=trained,
        stands_for=_stands_for,
        files=any(_of_files(one.training) for one in trained),
        drawn=drawn,
        pictures=pictures_of,
        as_typed=as_typed,
        verdicts=VERDICTS,
    )
    write_text(path, page)


def _again(name: str, setup: Setup) -> list[str]:
    """Return the command that makes the page again, in its own folder."""
    data, quick = ["--data", setup.data] if setup.data else [], ["--quick"] if setup.quick else []
    return ["reproduce", name, *data, *quick, "--out", "."]


def _stands_for(training: Training) -> tuple[str, str]:
    """Return the recipe that a training stands for, and what that adds."""
    about, length = recipe_named(training.recipe).about, resolve(recipe=training.recipe).training
    if "twin_of" in about:
        return about["twin_of"], about["adds"]
    whole = f"{length.images:,} images" if length.images else f"{length.epochs:g} epochs"
    return training.recipe, f"nothing but length: {whole}"


def _of_files(training: Training) -> bool:
    """Return whether a training's images are files that MORPHOSPACE_DATA leads to."""
    from morphospace.data.sources import SOURCES

    name = training.data.partition(":")[0]
    return name in SOURCES and SOURCES[name].info.size not in ("none", "")


def pictures_of(figure: Figure) -> list[Picture]:
    """Return the pictures of a figure, in the order of its curves and commands."""
    files = {f"{run}/curves.png": caption for run, caption in figure.curves.items()}
    for step in figure.steps:
        files |= step.pictures
    return [_picture(Path(file), caption) for file, caption in files.items()]


def _picture(file: Path, caption: str) -> Picture:
    """Return a file as the page holds it, without what it says of the folders of this machine."""
    content = read_bytes(file, MOST)
    with Image.open(BytesIO(content)) as image:
        image.load()
        first = f"data:image/png;base64,{png_data(image.convert('RGB'))}"
        if file.suffix != ".gif":
            return Picture(caption, image.width, image.height, first)
    film = f"data:image/gif;base64,{base64.b64encode(content).decode()}"
    return Picture(caption, image.width, image.height, film, first)
