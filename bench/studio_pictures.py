"""Takes the pictures of the documentation's page on the studio: `python -m bench.studio_pictures [RUN ...]`.

Without a run it takes the one of README.md alone, which shows the exported page of the drawn faces. Each RUN must be of
the embedded data (toyfaces, digits): the pictures go into the repository. The first is shown, and the training of the
last.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.studio import browser_page, served

IMAGES = Path(__file__).parents[1] / "docs" / "images"
VIEWS = {
    "map": ("map", {"at": "0.6,0.4"}, "light"),
    "sliders": ("sliders", {"by": "direction", "moves": "direction:Long_Hair:3;direction:Smiling:2"}, "dark"),
    "morph": ("morph", {"t": "24"}, "light"),
    "project": ("project", {}, "light"),
    "training": ("training", {}, "dark"),
}


def settled(page: Any) -> None:
    """Wait until nothing is being worked out."""
    page.wait_for_timeout(700)
    while page.inner_text("#status").endswith("…") or not page.evaluate("document.querySelector('.visit *') !== null"):
        page.wait_for_timeout(100)
    page.wait_for_timeout(900)


def take(page: Any, address: str, run: str, room: str, more: dict[str, str], out: Path) -> None:
    """Open a room and take its picture."""
    from urllib.parse import urlencode

    page.goto(f"{address}#{urlencode({'room': room, 'run': run, **more})}")
    settled(page)
    filled(page)
    page.screenshot(path=out)


def filled(page: Any) -> None:
    """Wait until a map, if this is one, is decoded as far as it is seen."""
    while page.locator("canvas.map:not([data-filled])").count():
        page.wait_for_timeout(100)
    page.wait_for_timeout(900)


def take_page() -> None:
    """Take the picture of the page that `morpho export --format html --out faces.html` writes."""
    from morphospace import export

    with tempfile.TemporaryDirectory() as folder, browser_page(viewport={"width": 1180, "height": 640}) as page:
        file = Path(folder) / "faces.html"
        export(None, file, format="html")
        page.goto(f"{file.as_uri()}#room=map&at=15,45")
        settled(page)
        filled(page)
        page.screenshot(path=IMAGES / "page.png")


def main(runs: list[Path]) -> None:
    """Take them all, at a desk's width, and two at a phone's."""
    from morphospace.runs.folder import RunFolder

    take_page()
    if not runs:
        return
    first, last = (RunFolder.open(run).name for run in (runs[0], runs[-1]))
    with served(runs) as address:
        for view, (room, more, theme) in VIEWS.items():
            with browser_page(viewport={"width": 1180, "height": 760}, color_scheme=theme) as page:
                take(page, address, last if room == "training" else first, room, more, IMAGES / f"studio-{view}.png")
        with browser_page(viewport={"width": 380, "height": 760}, color_scheme="dark") as page:
            take(page, address, first, "sliders", {"moves": "direction:Long_Hair:3"}, IMAGES / "studio-phone.png")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
