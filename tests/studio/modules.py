"""The page's modules in a browser, without a server: for tests of what they compute."""

from __future__ import annotations

from typing import Any

from bench.play import serve_modules


def open_modules(browser: Any) -> Any:
    """Open an empty page that can import the page's modules by their paths, such as `/play/gan.js`."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    serve_modules(page)
    return page
