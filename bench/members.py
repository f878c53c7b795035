"""The models that benchmarks are about: those of the package, without plugins."""

from __future__ import annotations

from typing import Any

from morphospace.plugins import built_in
from morphospace.zoo.settings import ZOO

__all__ = ["OURS", "RANKED"]

OURS: dict[str, Any] = {name: cls for name, cls in ZOO.items() if built_in(cls.__module__)}
# mask-vae learns the part of an image that a mask covers: distances to whole images say nothing about it.
RANKED = [name for name in OURS if name != "mask-vae"]
