"""What the tests of the page share: a browser, a studio to open in it, and a look at what is drawn."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(sys.prefix) / "axe" / "package" / "axe.min.js"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
SETTLED = """document.querySelector(".visit > :not(.intro)")
    && !document.getElementById('status').textContent.endsWith('…')"""


def needed(what: object, words: str) -> None:
    """Skip where something is missing that only these tests need; fail where it must be there."""
    if what:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{words}, and CI = true says that it must be there")
    pytest.skip(words)


class Visitor:
    """A page that is open, and what it must never do.

    Args:
        page: The browser's page.
        address: The studio's.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.wrong: list[str] = []
        page.set_default_timeout(60_000)
        page.on("console", lambda line: self.wrong.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.asked(request.url))
        page.on("websocket", lambda socket: self.asked(socket.url.replace("ws:", "http:")))

    def asked(self, url: str) -> None:
        """Note a request that leaves the studio."""
        if not url.startswith((self.address, "blob:", "data:")):
            self.wrong.append(f"asked {url}")

    def go(self, room: str, run: str, **view: object) -> None:
        """Open a room, by its address alone."""
        from urllib.parse import urlencode

        self.page.goto("about:blank")
        self.page.goto(f"{self.address}#{urlencode({'room': room, 'run': run, **view})}")
        self.settle()

    def until(self, expression: str) -> None:
        """Wait until something is so; asked from outside, as the page's own policy forbids to evaluate texts."""
        end = time.monotonic() + 60
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, (expression, self.page.inner_text("body"))
            self.page.wait_for_timeout(20)

    def settle(self) -> None:
        """Wait until nothing is being worked out."""
        self.until(SETTLED)
        assert self.page.locator("#status.bad").count() == 0, self.page.inner_text("#status")

    def pixels(self, canvas: str | Any) -> np.ndarray:
        """Return what a canvas shows, uint8 (H, W, 3)."""
        found = self.page.locator(canvas) if isinstance(canvas, str) else canvas
        data = found.evaluate("canvas => canvas.toDataURL('image/png')").split(",", 1)[1]
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            return np.asarray(picture.convert("RGB"))

    def changed(self, canvas: str, act: Any) -> np.ndarray:
        """Do something and return what the canvas shows once it shows something else."""
        before = self.pixels(canvas)
        act()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            after = self.pixels(canvas)
            if after.shape != before.shape or (after != before).any():
                return after
            self.page.wait_for_timeout(15)
        raise AssertionError(f"{canvas} shows the same as before")

    def still(self, canvas: str) -> np.ndarray:
        """Return what a canvas shows when it has come to rest, and every question of the page has its answer."""
        before = self.pixels(canvas)
        while True:
            self.page.wait_for_timeout(250)
            self.until("!globalThis.morphospace?.client?.waiting?.size")
            after = self.pixels(canvas)
            if after.shape == before.shape and not (after != before).any():
                return after
            before = after

    def saved(self, press: Any) -> Path:
        """Press a button that saves a file and return the file."""
        with self.page.expect_download() as download:
            press()
        return Path(download.value.path())

    def hash(self) -> dict[str, str]:
        """Return the view that the address says, once it has been written."""
        from urllib.parse import parse_qsl, urlsplit

        self.page.wait_for_timeout(500)
        return dict(parse_qsl(urlsplit(self.page.url).fragment))


class PageVisitor(Visitor):
    """A visitor of exported pages, each of one run, opened from disk.

    Args:
        page: The browser's page.
        files: The exported pages by the runs' names.
        run: Whose page stands for the address, as long as no other is visited.
    """

    def __init__(self, page: Any, files: dict[str, Path], run: str = "vae") -> None:
        super().__init__(page, files[run].as_uri())
        self.files = files

    def go(self, room: str, run: str, **view: object) -> None:
        """Open a room of a run's page."""
        self.address = self.files[run].as_uri()
        super().go(room, run, **view)
