"""The settings of a network that was trained elsewhere; free of torch, so that `--help` stays quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from morphospace.roles import Role
from morphospace.zoo.registry import ModelSettings, member

if TYPE_CHECKING:
    from morphospace.models.conditioning import Conditioning
    from morphospace.models.contract import Model


@member("adopted", "morphospace.zoo.adopted:Adopted", trains=False)
@dataclass(frozen=True, kw_only=True)
class AdoptedSettings(ModelSettings):
    """A decoder, and maybe an encoder, that were trained elsewhere.

    Attributes:
        signed: The images that it takes and gives are in [-1, 1], rather than in [0, 1].
        networks: The networks' layers as JSON; empty if only their code can build them.
    """

    signed: bool = False
    networks: Annotated[str, Role.FIT] = ""

    def build(
        self,
        shape: tuple[int, int, int],
        parts: Mapping[str, Any] | None = None,
        conditioning: Conditioning | None = None,
    ) -> Model:
        """Build the model around its networks, given or described; one without an encoder cannot encode."""
        zoo, given = import_module("morphospace.zoo.adopted"), parts or {}
        if self.networks and not given:
            given = zoo.described_networks(self, shape)
        cls = zoo.AdoptedAutoencoder if "encoder" in given else zoo.Adopted
        built: Model = cls(self, shape, given, conditioning)
        built.custom = () if self.networks else built.custom
        return built
