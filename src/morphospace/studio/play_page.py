"""The simulations as one page that needs no server: `morpho play --out play.html` writes it."""

from __future__ import annotations

import base64
from pathlib import Path

from markupsafe import Markup

from morphospace.files import atomic
from morphospace.pictures.pages import render
from morphospace.studio.bundle import digest, script, source
from morphospace.studio.live.tapes import letters_of, tapes


def page(*, beside: bool = False) -> str:
    """Return the page, under a policy that names its script and style and allows no request.

    Args:
        beside: The recordings are files beside the page, which it may load; if not, they stand in it.
    """
    code, style = script("play/page.js"), source("style.css") + source("play/style.css")
    files = " 'self' file:" if beside else ""
    policy = (
        f"default-src 'none'; script-src {digest(code)} 'wasm-unsafe-eval'{files}; style-src {digest(style)}; "
        "worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    icon = f"data:image/svg+xml;base64,{base64.b64encode(source('icon.svg').encode()).decode()}"
    # Texts of this package, not of a user.
    texts = {"worker": Markup(script("play/worker.js")), "script": Markup(code), "style": Markup(style)}
    recordings = {} if beside else {name: letters_of(text) for name, text in tapes().items()}
    return render("studio/play.html", policy=policy, icon=icon, recordings=recordings, **texts)


def write_page(out: Path) -> int:
    """Write the page and return its size in bytes."""
    text = page()
    with atomic(out) as partial:
        partial.write_text(text, encoding="utf-8")
    return len(text.encode())
