"""The sources that can be reproduced, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from morphospace.cli.reproduce.celeba_notes import celeba_notes
from morphospace.cli.reproduce.faces_deep_dive import faces_deep_dive
from morphospace.cli.reproduce.lesson import lesson
from morphospace.cli.reproduce.note import note
from morphospace.cli.reproduce.plan import Setup, Source

SOURCES: Mapping[str, Callable[[Setup], Source]] = {
    "celeba-notes": celeba_notes,
    "faces-deep-dive": faces_deep_dive,
    "lesson": lesson,
    "note": note,
}
