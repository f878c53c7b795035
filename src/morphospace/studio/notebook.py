"""The explorer in a notebook: the page of `morpho export --format html`, made in memory, in a frame of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from morphospace.errors import command
from morphospace.pictures.display import in_notebook
from morphospace.pictures.pages import render
from morphospace.ranges import Between, check_ranges
from morphospace.runs.images import warn
from morphospace.runs.run import Run, loaded
from morphospace.studio.faces import embedded_run
from morphospace.studio.page_file import Made, page_of
from morphospace.tools.export import Thumbnails


@dataclass(frozen=True)
class Explorer:
    """The explorer of a run, as a notebook shows it.

    Attributes:
        run: The run.
        height: Height of the frame in pixels.
        weights: How the page stores weights.
        thumbnails: Whether the map shows pictures of the data.
    """

    run: Run
    height: int
    weights: str
    thumbnails: Thumbnails

    @cached_property
    def page(self) -> Made:
        """The page, made when it is first shown."""
        return page_of(self.run, "html", None, self.weights, self.thumbnails)

    def _repr_html_(self) -> str:
        # The frame may run the page's script, and nothing else: it has no origin, no forms and no way out.
        page, title = self.page.files["index.html"], f"The explorer of {self.run.path.name}"
        return render("studio/notebook.html", page=page, title=title, height=self.height, notes=self.page.notes)


def explore(
    run: Run | str | Path | None = None,
    *,
    height: Annotated[int, Between(200, 4000)] = 720,
    weights: Literal["fp16", "int8"] = "fp16",
    thumbnails: Thumbnails = "auto",
) -> Explorer:
    """Explore a run in a notebook: its map, sliders and morphs, which decode in the browser.

    The notebook keeps the page, and whoever opens it can use the page without Python. Outside a notebook a warning says
    how to open the explorer there.

    Args:
        run: A loaded run or its folder; None for the drawn faces that the package brings.
        height: Height of the frame in pixels.
        weights: As for `export`; `int8` makes the notebook smaller.
        thumbnails: As for `export`: whether the map shows small pictures of the data.

    Raises:
        RunError: If the model has a layer that a page cannot hold.
    """
    check_ranges(explore, locals())
    shown = Explorer(loaded(embedded_run() if run is None else run), height, weights, thumbnails)
    if in_notebook():
        _ = shown.page  # what cannot be shown is refused here, not while the notebook draws it
    else:
        of = () if run is None else (shown.run.path,)
        ways = (command("studio", *of), command("export", *of, "--format", "html", "--out", "page.html"))
        warn(f"explore shows a page in a notebook, and this is none: `{ways[0]}` opens it, `{ways[1]}` writes it")
    return shown
