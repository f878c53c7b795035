"""Networks of plain torch layers as data: what `nn.Sequential` holds, written as JSON and built again from it.

A network can be written if it is made of the layers below, as they are: no subclass, no hook, no parametrisation.
Nothing that JSON names is imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from morphospace.errors import SettingError, nearest, one_line, require
from morphospace.files import json_text
from morphospace.records import read_json

_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
_BATCH_NORM = "num_features eps momentum affine track_running_stats"
_POOL = "kernel_size stride padding ceil_mode"
# The arguments that build each layer; a layer keeps each as an attribute of the same name.
ARGUMENTS: dict[type[nn.Module], str] = {
    nn.Linear: "in_features out_features bias",
    nn.Conv2d: _CONV,
    nn.ConvTranspose2d: f"{_CONV} output_padding",
    nn.BatchNorm1d: _BATCH_NORM,
    nn.BatchNorm2d: _BATCH_NORM,
    nn.InstanceNorm2d: _BATCH_NORM,
    nn.GroupNorm: "num_groups num_channels eps affine",
    nn.LayerNorm: "normalized_shape eps elementwise_affine bias",
    nn.ReLU: "inplace",
    nn.ReLU6: "inplace",
    nn.LeakyReLU: "negative_slope inplace",
    nn.PReLU: "num_parameters",
    nn.ELU: "alpha inplace",
    nn.GELU: "approximate",
    nn.SiLU: "inplace",
    nn.Mish: "inplace",
    nn.Softplus: "beta threshold",
    nn.Hardtanh: "min_val max_val inplace",
    nn.Sigmoid: "",
    nn.Tanh: "",
    nn.Identity: "",
    nn.Dropout: "p inplace",
    nn.Dropout2d: "p inplace",
    nn.Flatten: "start_dim end_dim",
    nn.Unflatten: "dim unflattened_size",
    nn.Upsample: "size scale_factor mode align_corners",
    nn.UpsamplingNearest2d: "size scale_factor",
    nn.UpsamplingBilinear2d: "size scale_factor",
    nn.PixelShuffle: "upscale_factor",
    nn.PixelUnshuffle: "downscale_factor",
    nn.AvgPool2d: _POOL,
    nn.MaxPool2d: _POOL,
    nn.AdaptiveAvgPool2d: "output_size",
    nn.ZeroPad2d: "padding",
    nn.ReflectionPad2d: "padding",
    nn.ReplicationPad2d: "padding",
}
LAYERS = {layer.__name__: layer for layer in ARGUMENTS}
SEQUENTIAL = nn.Sequential.__name__
DEEPEST, MOST_LAYERS, MOST_NUMBERS = 16, 5_000, 1 << 28


def description(network: nn.Module) -> dict[str, Any] | None:
    """Return a network as JSON; None if a layer of it is none of those known here."""
    if not _plain(network):
        return None
    if type(network) is nn.Sequential:
        # A layer that stands there twice is written twice.
        layers = {name: description(layer) for name, layer in network._modules.items() if layer is not None}
        return None if None in layers.values() or "" in layers else {"layer": SEQUENTIAL, "layers": layers}
    names = ARGUMENTS.get(type(network))
    if names is None:
        return None
    # Whether a layer has a bias is kept as the bias itself.
    values = {name: getattr(network, name) for name in names.split()}
    return {"layer": type(network).__name__} | {
        name: value is not None if name == "bias" else value for name, value in values.items()
    }


def _plain(network: nn.Module) -> bool:
    """Return whether a layer does what its class does, in float32."""
    if not isinstance(network, nn.Module):
        return False
    hooked = network._forward_hooks or network._forward_pre_hooks or "forward" in vars(network)
    own = [*network.parameters(recurse=False), *network.buffers(recurse=False)]
    return not hooked and all(value.dtype in (torch.float32, torch.int64) for value in own)


def unknown_layer(network: nn.Module) -> str:
    """Return the name of the first layer that cannot be written; empty if all can."""
    if type(network) is nn.Sequential and _plain(network):
        return next(filter(None, map(unknown_layer, network.children())), "")
    return "" if description(network) else type(network).__name__


def networks_text(networks: Mapping[str, nn.Module]) -> str:
    """Return networks by name as JSON text; empty if one of them cannot be written."""
    found = {name: description(network) for name, network in networks.items()}
    return "" if None in found.values() else json_text(found)


def networks_of(text: str) -> dict[str, nn.Module]:
    """Build the networks that a text describes, with new weights.

    Raises:
        SettingError: If it describes no networks of known layers.
    """
    try:
        found = read_json(text)
        require(isinstance(found, dict), "networks", text, "must be networks by name")
        return {name: built(one) for name, one in found.items()}
    except SettingError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
        rule = f"describes no networks of plain layers ({one_line(error)})"
        raise SettingError("networks", text, rule, "adopt them again") from None


def built(about: Any, depth: int = 0) -> nn.Module:
    """Build a network from its description.

    Raises:
        SettingError: If a layer is not known, or has other arguments.
    """
    name = about["layer"]
    require(depth < DEEPEST, "layer", name, f"must not lie deeper than {DEEPEST} others")
    if name == SEQUENTIAL:
        layers: Mapping[str, Any] = about["layers"]
        require(len(layers) <= MOST_LAYERS, "layers", len(layers), f"must be at most {MOST_LAYERS:,}")
        network = nn.Sequential()
        for key, layer in layers.items():
            network.add_module(key, built(layer, depth + 1))
        return network
    require(name in LAYERS, "layer", name, f"is none that this library knows{nearest(name, LAYERS)}")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in about.items() if key != "layer"}
    wanted = ARGUMENTS[LAYERS[name]].split()
    require(set(given) == set(wanted), "layer", name, f"has the arguments {sorted(given)}, must have {sorted(wanted)}")
    return LAYERS[name](**given)


@torch.no_grad()
def check_sizes(network: nn.Module, example: Tensor) -> None:
    """Refuse a network that makes more numbers on its way than memory should hold; run it without any, on `meta`.

    Raises:
        SettingError: If a layer of it does.
    """

    def check(layer: nn.Module, given: object, made: Any) -> None:
        count = math.prod(made.shape)
        rule = f"makes {count:,} numbers of two images, must make at most {MOST_NUMBERS:,}"
        require(count <= MOST_NUMBERS, "layer", type(layer).__name__, rule)

    handles: Sequence[Any] = [layer.register_forward_hook(check) for layer in network.modules()]
    try:
        network.eval()(example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError("networks", rule=f"do not run ({one_line(error)})", way_out="adopt them again") from None
    finally:
        for handle in handles:
            handle.remove()
