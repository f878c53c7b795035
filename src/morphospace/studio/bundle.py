"""The studio's page as files that need no server: its modules in one script, under a policy that names this script.

No room is copied. The modules that `main.js` asks for become functions of one script, in order; `client.js` becomes
`local.js`, which decodes in the page; rooms that need a server are left out.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from importlib.resources import files
from typing import Any

from morphospace import __version__

INSTEAD = {"client.js": "local.js"}
PART = 8_000_000  # letters of the packed numbers in each file of a folder
IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
STYLE = re.compile(r'<link rel="stylesheet" href="([^"]+)">\n')
LOAD = "await import(`./rooms/${name}.js`)"  # how main.js enters a room


def source(name: str) -> str:
    """Return a file of the page."""
    return files("morphospace.studio").joinpath("page", name).read_text(encoding="utf-8")


def rooms() -> list[str]:
    """Return the names of all rooms."""
    found = files("morphospace.studio").joinpath("page", "rooms").iterdir()
    return sorted(file.name.removesuffix(".js") for file in found if file.name.endswith(".js"))


def script(entry: str, *, instead: Mapping[str, str] | None = None, without: Collection[str] = ()) -> str:
    """Return a module and all that it imports as one script.

    Args:
        entry: The module.
        instead: Modules that take the place of others.
        without: Rooms to leave out.
    """
    written: dict[str, str] = {}
    others = instead or {}

    def placed(name: str, wanted: str) -> str:
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), wanted))
        return others.get(found, found)

    def add(name: str) -> None:
        if name in written:
            return
        text = source(name)
        wanted = [placed(name, found[2]) for found in IMPORT.finditer(text)]
        if LOAD in text:
            wanted += [f"rooms/{room}.js" for room in rooms() if room not in without]
        for one in wanted:
            add(one)
        written[name] = as_function(name, text, placed)

    add(entry)
    begin = f'/* morphospace {__version__}, Apache-2.0 */\n"use strict";\n{{\nconst $ = {{}};\n'
    return "".join([begin, *written.values(), "}\n"])


def as_function(name: str, text: str, placed: Callable[[str, str], str]) -> str:
    """Return a module as a function that is called once, and returns what the module exports."""

    def bring(found: re.Match[str]) -> str:
        return f'const {{{found[1].replace(" as ", ": ")}}} = $["{placed(name, found[2])}"];'

    names = EXPORT.findall(text)
    text = EXPORT.sub("", IMPORT.sub(bring, text)).replace(LOAD, "$[`rooms/${name}.js`]")
    left = re.search(r"^(import|export)\b.*|\bimport\(.*", text, re.MULTILINE)
    assert left is None, f"{name}: {left and left[0]}"
    return f'$["{name}"] = (() => {{\n{text}\nreturn {{ {", ".join(names)} }};\n}})();\n'


def styles(text: str, without: Collection[str]) -> tuple[str, str]:
    """Return an HTML text without its style sheets, and these as one, but for those of rooms that are left out."""
    found = [one[1] for one in STYLE.finditer(text)]
    return STYLE.sub("", text), "".join(source(name) for name in found if name.split("/")[0] not in without)


def digest(text: str) -> str:
    """Return the source of a policy that allows this text alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def as_data(value: Any) -> str:
    r"""Return JSON that may stand in a script element, whatever texts it holds.

    >>> as_data({"name": "</script>\u202e"})
    '{"name":"\\u003c/script\\u003e\\u202e"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def page(space: Mapping[str, Any], numbers: str, note: str, *, parts: bool = False) -> dict[str, str]:
    """Return the files of an exported page by name; the page itself is `index.html`.

    Args:
        space: What `local.js` reads, and the rooms that are left out under `lacks`.
        numbers: The packed numbers, as base64.
        note: The terms, for whoever looks into the file.
        parts: Whether the numbers stand in files beside the page.
    """
    made: dict[str, str] = {}
    if parts:
        pieces = [numbers[i : i + PART] for i in range(0, len(numbers), PART)]
        made = {
            f"numbers-{i}.js": f'document.getElementById("numbers").append("{piece}");\n'
            for i, piece in enumerate(pieces, 1)
        }
    code = script("main.js", instead=INSTEAD, without=space["lacks"])
    text, style = styles(source("index.html"), space["lacks"])
    icon = f"data:image/svg+xml;base64,{base64.b64encode(source('icon.svg').encode()).decode()}"
    beside = " 'self' file:" if parts else ""
    policy = (
        f"default-src 'none'; script-src {digest(code)} 'wasm-unsafe-eval'{beside}; "
        f"style-src {digest(style)}; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = (
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="description" content="{html.escape(note)}">'
    )
    scripts = [
        f'<script type="application/json" id="space">{as_data(space)}</script>',
        f'<script type="text/plain" id="numbers">{"" if parts else numbers}</script>',
        *(f'<script src="{name}"></script>' for name in made),
        f"<script>{code}</script>",
    ]
    for old, new in (
        ('<meta charset="utf-8">', f"{head}\n<style>{style}</style>"),
        ('<script type="module" src="main.js"></script>\n', ""),
        ('href="icon.svg"', f'href="{icon}"'),
        ('src="icon.svg"', f'src="{icon}"'),
        ("</body>", "\n".join([*scripts, "</body>"])),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return {"index.html": text, **made}
