"""Recordings of runs: frames of chosen moments in one small file, which the same page plays without a server.

A recording is base64 of deflated bytes: the length of a header, the header as JSON, then each frame after its length.
It stands in a script, because a page that is opened from disk may load nothing else.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import textwrap
import zlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

PLACE = files("morphospace.studio").joinpath("page", "play")
PREFIX = "tape-"
WIDE = 116  # letters a line
SCRIPT = '(globalThis.tapes ??= {{}})["{name}"] = `\n{text}`;\n'


def packed(name: str, header: Mapping[str, Any], frames: Iterable[bytes]) -> str:
    """Return a recording as the script that holds it."""
    text = json.dumps(header, separators=(",", ":")).encode()
    parts = [struct.pack("<I", len(part)) + part for part in (text, *frames)]
    letters = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()
    return SCRIPT.format(name=name, text="\n".join(textwrap.wrap(letters, WIDE)))


def letters_of(script: str) -> str:
    """Return the base64 in a recording's script."""
    found = re.search(r"`([^`]*)`", script)
    assert found
    return found[1]


def unpacked(script: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return a recording's header and its frames."""
    content, at, parts = zlib.decompress(base64.b64decode(letters_of(script))), 0, []
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        parts.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return json.loads(parts[0]), parts[1:]


def tapes() -> dict[str, str]:
    """Return the recordings of the package by name, as scripts."""
    found = sorted((file for file in PLACE.iterdir() if file.name.startswith(PREFIX)), key=lambda file: file.name)
    return {file.name[len(PREFIX) :].removesuffix(".js"): file.read_text(encoding="utf-8") for file in found}
