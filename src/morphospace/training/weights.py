"""Load named weights into networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from morphospace.errors import RunError


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Copy named weights into a network, whose memory layout stays.

    Raises:
        RunError: If a name is missing or unknown, or a shape differs.
    """
    own = network.state_dict()
    odd = sorted(set(own) ^ set(weights))
    if odd:
        raise RunError(
            "checkpoint", rule=f"{name} has not the weights of this model ({odd[0]!r} and {len(odd) - 1} more differ)"
        )
    with torch.no_grad():
        for key, value in own.items():
            if value.shape != weights[key].shape:
                raise RunError(
                    "checkpoint", rule=f"{name}/{key} has shape {tuple(weights[key].shape)}, not {tuple(value.shape)}"
                )
            value.copy_(weights[key])
