"""Flags that several verbs have."""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

RunPath = Annotated[str, cyclopts.Parameter(help="The run's folder.")]
Checkpoint = Annotated[
    str, cyclopts.Parameter(help="best, last or a number of images; the best one where there is one if left out.")
]
Raw = Annotated[
    bool, cyclopts.Parameter(help="The raw weights, not the averaged ones.", negative=(), show_default=False)
]
Out = Annotated[str, cyclopts.Parameter(help="The picture to write, a .png.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], cyclopts.Parameter(help="Where to compute.")]
