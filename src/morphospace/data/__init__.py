"""Sources -> a pack -> batches.

A *source* knows where images lie and what goes with them; `prepare` decodes it once into a *pack*, a folder
of uint8 arrays with a manifest; `Batches` hands out seeded, resumable batches. Names are loaded when
first used, so that importing this package loads neither numpy nor torch. `prepare` is not among them, since there is
a module of that name: `from morphospace.data.prepare import prepare`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from morphospace.data.batches import Batch, Batches, held_out
    from morphospace.data.datasets import from_dataset
    from morphospace.data.pack import Pack, Split, in_memory_pack, open_pack
    from morphospace.data.prepare import data_list, fetch, parse_size
    from morphospace.data.settings import DataSettings
    from morphospace.data.sources import SourceInfo

__all__ = [
    "DataSettings",
    "SourceInfo",
    "Pack",
    "Split",
    "open_pack",
    "in_memory_pack",
    "parse_size",
    "data_list",
    "fetch",
    "Batch",
    "Batches",
    "held_out",
    "from_dataset",
]

_HOME = {
    "DataSettings": "settings",
    "SourceInfo": "sources",
    **dict.fromkeys(("Pack", "Split", "open_pack", "in_memory_pack"), "pack"),
    **dict.fromkeys(("parse_size", "data_list", "fetch"), "prepare"),
    **dict.fromkeys(("Batch", "Batches", "held_out"), "batches"),
    "from_dataset": "datasets",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
