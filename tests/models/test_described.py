"""Networks of plain layers are written as data and built again; those of strangers take no memory on their word."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
import torch
from torch import nn

from morphospace.errors import SettingError
from morphospace.models.described import ARGUMENTS, check_sizes, description, networks_of, networks_text, unknown_layer

MADE = {
    nn.Linear: lambda: nn.Linear(8, 4, bias=False),
    nn.Conv2d: lambda: nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=(1, 2), groups=2, padding_mode="reflect"),
    nn.ConvTranspose2d: lambda: nn.ConvTranspose2d(4, 6, 4, 2, padding=1, output_padding=1, dilation=2, bias=False),
    nn.BatchNorm1d: lambda: nn.BatchNorm1d(4, eps=0.5, momentum=None),
    nn.BatchNorm2d: lambda: nn.BatchNorm2d(4, affine=False),
    nn.InstanceNorm2d: lambda: nn.InstanceNorm2d(4, affine=True),
    nn.GroupNorm: lambda: nn.GroupNorm(2, 4, eps=0.25),
    nn.LayerNorm: lambda: nn.LayerNorm((8, 8), bias=False),
    nn.PReLU: lambda: nn.PReLU(4),
    nn.LeakyReLU: lambda: nn.LeakyReLU(0.3),
    nn.ELU: lambda: nn.ELU(0.7),
    nn.GELU: lambda: nn.GELU(approximate="tanh"),
    nn.Softplus: lambda: nn.Softplus(2.0, 10.0),
    nn.Hardtanh: lambda: nn.Hardtanh(-0.5, 0.25),
    nn.Flatten: lambda: nn.Flatten(2),
    nn.Unflatten: lambda: nn.Unflatten(1, (2, 2)),
    nn.Upsample: lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    nn.UpsamplingNearest2d: lambda: nn.UpsamplingNearest2d(scale_factor=3),
    nn.UpsamplingBilinear2d: lambda: nn.UpsamplingBilinear2d((5, 7)),
    nn.PixelShuffle: lambda: nn.PixelShuffle(2),
    nn.PixelUnshuffle: lambda: nn.PixelUnshuffle(2),
    nn.AvgPool2d: lambda: nn.AvgPool2d(3, 2, 1),
    nn.MaxPool2d: lambda: nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
    nn.AdaptiveAvgPool2d: lambda: nn.AdaptiveAvgPool2d((None, 3)),
    nn.ZeroPad2d: lambda: nn.ZeroPad2d((1, 2, 3, 0)),
    nn.ReflectionPad2d: lambda: nn.ReflectionPad2d(2),
    nn.ReplicationPad2d: lambda: nn.ReplicationPad2d((1, 0, 1, 0)),
}


@pytest.mark.parametrize("layer", ARGUMENTS, ids=lambda layer: layer.__name__)
def test_every_layer_that_is_known_does_the_same_when_it_is_built_again(layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    made = MADE.get(layer, layer)()
    given = torch.randn(2, 4) if layer is nn.BatchNorm1d else torch.randn(2, 4, 8, 8)
    network = nn.Sequential(made).eval()
    again = networks_of(networks_text({"x": network}))["x"].eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(network(given.clone()), again(given.clone()))
    assert repr(again) == repr(network)


def test_nested_networks_keep_their_names_and_shared_layers_are_written_twice() -> None:
    shared = nn.Linear(3, 3)
    network = nn.Sequential(OrderedDict(a=shared, b=nn.Sequential(nn.ReLU(), shared)))
    again = networks_of(networks_text({"decoder": network}))["decoder"]
    assert list(again.state_dict()) == list(network.state_dict())


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def patched() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.forward = lambda x: x  # type: ignore[method-assign]
    return layer


def hooked() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, given, made: 2 * made)
    return layer


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Doubled(3, 3), "Doubled"),
        (patched, "Linear"),
        (hooked, "Linear"),
        (lambda: nn.Linear(3, 3).double(), "Linear"),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), "ParametrizedLinear"),
        (lambda: nn.MultiheadAttention(4, 2), "MultiheadAttention"),
    ],
)
def test_what_does_more_than_its_class_says_is_not_written(make: type[nn.Module], named: str) -> None:
    network = nn.Sequential(nn.ReLU(), nn.Sequential(make()))
    assert description(network) is None and networks_text({"decoder": network}) == ""
    assert unknown_layer(network) == named


DEEP: dict[str, object] = {"layer": "ReLU", "inplace": False}
for _ in range(40):
    DEEP = {"layer": "Sequential", "layers": {"0": DEEP}}


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"layer": "os.system", "command": "true"}, "none that this library knows"),
        ({"layer": "Module"}, "none that this library knows"),
        ({"layer": "ReLU", "inplace": False, "more": 1}, "has the arguments"),
        ({"layer": "Linear", "in_features": "x", "out_features": 1, "bias": True}, "no networks of plain layers"),
        ({"layer": "Sequential", "layers": {"a.b": {"layer": "Tanh"}}}, "no networks of plain layers"),
        ({"layer": "Sequential", "layers": [1]}, "no networks of plain layers"),
        ([], "no networks of plain layers"),
        (DEEP, "must not lie deeper than 16 others"),
    ],
)
def test_what_describes_no_network_is_refused_in_a_line(about: object, says: str) -> None:
    with pytest.raises(SettingError, match=says) as refused, torch.device("meta"):
        networks_of(json.dumps({"decoder": about}))
    assert "\n" not in str(refused.value)


def test_a_network_that_would_fill_the_memory_on_its_way_is_refused_without_any() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Upsample(scale_factor=100_000), nn.AdaptiveAvgPool2d(8), nn.Conv2d(1, 1, 1))
        with pytest.raises(SettingError, match="makes 1,280,000,000,000 numbers"):
            check_sizes(network, torch.zeros(2, 1, 8, 8))
