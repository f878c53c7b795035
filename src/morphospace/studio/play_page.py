"""The simulations as one page that needs no server: `morpho play --out play.html` writes it."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from morphospace.files import atomic
from morphospace.pictures.pages import render

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def source(name: str) -> str:
    """Return a file of the page."""
    return files("morphospace.studio").joinpath("page", name).read_text(encoding="utf-8")


def script(entry: str) -> str:
    """Return a module and all that it imports as one script, without imports and exports."""
    written: dict[str, str] = {}

    def add(name: str) -> None:
        text, here = source(name), posixpath.dirname(name)

        def bring(found: re.Match[str]) -> str:
            wanted = posixpath.normpath(posixpath.join(here, found[2]))
            if wanted not in written:
                add(wanted)
            return f'const {{{found[1].replace(" as ", ": ")}}} = $["{wanted}"];'

        names = _EXPORT.findall(text)
        text = _EXPORT.sub("", _IMPORT.sub(bring, text))
        written[name] = f'$["{name}"] = (() => {{\n{text}\nreturn {{ {", ".join(names)} }};\n}})();\n'

    add(entry)
    return "".join(['"use strict";\n{\nconst $ = {};\n', *written.values(), "}\n"])


def digest(text: str) -> str:
    """Return the source of a policy that allows this text alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page() -> str:
    """Return the page, under a policy that names its script and style and allows no request."""
    code, style = script("play/page.js"), source("style.css") + source("play/style.css")
    policy = (
        f"default-src 'none'; script-src {digest(code)} 'wasm-unsafe-eval'; style-src {digest(style)}; "
        "worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    icon = f"data:image/svg+xml;base64,{base64.b64encode(source('icon.svg').encode()).decode()}"
    # Texts of this package, not of a user.
    texts = {"worker": Markup(script("play/worker.js")), "script": Markup(code), "style": Markup(style)}
    return render("studio/play.html", policy=policy, icon=icon, **texts)


def write_page(out: Path) -> int:
    """Write the page and return its size in bytes."""
    text = page()
    with atomic(out) as partial:
        partial.write_text(text, encoding="utf-8")
    return len(text.encode())
