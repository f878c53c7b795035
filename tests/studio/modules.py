"""The page's modules in a browser, without a server: for tests of what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphospace import studio

PAGE = Path(studio.__file__).parent / "page"
HOME = "http://page.test/"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


def open_modules(browser: Any) -> Any:
    """Open an empty page that can import the page's modules by their paths, such as `/play/gan.js`."""
    page = browser.new_page()
    page.set_default_timeout(60_000)

    def answer(route: Any) -> None:
        name = route.request.url.removeprefix(HOME)
        if not name:
            return route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
        path = PAGE / name
        if not path.is_file():
            return route.fulfill(status=404, body=name)
        route.fulfill(body=path.read_text(encoding="utf-8"), content_type=TYPES[path.suffix])

    page.route("**/*", answer)
    page.goto(HOME)
    return page
