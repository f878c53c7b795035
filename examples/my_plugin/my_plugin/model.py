"""The settings of the model `sparse-vae`. This file imports no torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from morphospace.ranges import Between
from morphospace.zoo.registry import member
from morphospace.zoo.settings import VAESettings


@member("sparse-vae", "my_plugin.networks:SparseVAE", "You 2027")
@dataclass(frozen=True, kw_only=True)
class SparseVAESettings(VAESettings):
    """VAE whose mean codes are pulled to zero by their absolute values.

    Attributes:
        sparsity: Weight of the sum of the absolute mean codes, per image.
    """

    sparsity: Annotated[float, Between(0, 1000)] = 1.0
