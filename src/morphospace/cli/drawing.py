"""Flags that several verbs have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import cyclopts

from morphospace.errors import require
from morphospace.tools.tool import read_attributes

RunPath = Annotated[str, cyclopts.Parameter(help="The run's folder.")]
Checkpoint = Annotated[
    str, cyclopts.Parameter(help="best, last or a number of images; the best one where there is one if left out.")
]
Raw = Annotated[
    bool, cyclopts.Parameter(help="The raw weights, not the averaged ones.", negative=(), show_default=False)
]
Out = Annotated[str, cyclopts.Parameter(help="The picture to write, a .png.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], cyclopts.Parameter(help="Where to compute.")]


def told_of_flags(label: str | None, attributes: str | None) -> dict[str, Any]:
    """Return what a conditional model is told, as the API takes it; only what was given."""
    both = f"does not go with attributes = {attributes!r}; ask for one of them"
    require(label is None or attributes is None, "label", label, both)
    told: dict[str, Any] = {} if label is None else {"label": label}
    return told if attributes is None else {"attributes": read_attributes(attributes)}
