"""`morpho play`: the simulations as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer
from morphospace.tools.tool import File

PAGE = File((".html",), "The page to write, an .html.", required=True)


def play(
    *,
    out: Annotated[Path, cyclopts.Parameter(help=PAGE.help)],
    json: Json = False,
) -> Answer:
    """Write a page on which small models train as you watch: one file, no server."""
    path = PAGE.path("out", out)
    from morphospace.studio.play_page import write_page

    size = write_page(path)
    data = {"out": str(path), "bytes": size}
    return Answer(data, [f"{path}: {size / 1000:,.0f} kB; open it in a browser, it needs no server"])
