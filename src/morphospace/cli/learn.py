"""`morpho learn`: the lessons as a site."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import cyclopts

from morphospace.cli.flags import Json
from morphospace.cli.talk import Answer


def learn(
    *,
    out: Annotated[Path, cyclopts.Parameter(help="Folder to write the lessons to.")] = Path("learn"),
    browser: Annotated[bool, cyclopts.Parameter(help="Open them in the browser.")] = False,
    json: Json = False,
) -> Answer:
    """Write the lessons as a site of plain files that needs no server: open its index.html."""
    from morphospace.learn.site import write_site

    made = write_site(out)
    index, size = out / "index.html", sum(map(len, made.values()))
    if browser:
        webbrowser.open(index.resolve().as_uri())
    data = {"out": str(out), "index": str(index), "bytes": size, "files": sorted(made)}
    return Answer(data, [f"lessons in {out} ({size / 1000:,.0f} kB); open {index}"])
