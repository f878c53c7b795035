"""Diagrams as SVG: they parse, say what they show, stay small, and fold what repeats."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from morphospace.models.conditioning import Conditioning
from morphospace.pictures.diagram import diagram_svg, folded, wrapped
from morphospace.training.anatomy import Anatomy, anatomy
from morphospace.training.layers_called import Layer
from morphospace.zoo.settings import ZOO, VAESettings

SVG = "{http://www.w3.org/2000/svg}"
ALL = [name for name, settings in ZOO.items() if settings.__module__.startswith("morphospace.")]


@pytest.mark.parametrize("name", ALL)
def test_each_member_is_drawn(name: str) -> None:
    settings = ZOO[name]()
    condition = Conditioning.of(getattr(settings, "condition", ""), ("a", "b"), ())
    found = anatomy(settings.build((32, 32, 3), None, condition))
    svg = diagram_svg(found, f"{name} <&>")
    root = ElementTree.fromstring(svg)
    assert root.find(f"{SVG}title").text == f"{name} <&>"  # type: ignore[union-attr]
    words = root.find(f"{SVG}desc").text or ""  # type: ignore[union-attr]
    for part in found.parts:
        assert f"{part.name.replace('_', ' ')} ({part.parameters:,} parameters)" in words
    assert len(svg.encode()) < 30_000 and "NaN" not in svg
    width = float(root.attrib["width"])
    boxes = root.iter(f"{SVG}rect")
    assert all(0 <= float(box.attrib["x"]) <= width - float(box.attrib["width"]) for box in boxes)


def deep() -> Anatomy:
    """A VAE with sixty layers of its own, two of which repeat together."""
    layers = [layer for _ in range(30) for layer in (nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))]
    encoder = nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 8))
    decoder = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8)))
    return anatomy(VAESettings(latent_dim=4).build((8, 8, 1), {"encoder": encoder, "decoder": decoder}))


def test_a_long_tower_is_folded() -> None:
    found = deep()
    svg = diagram_svg(found, "deep")
    assert "30 times" in svg and len(svg) < 10_000
    assert found.parts[0].parameters == 60 * (64 * 64 + 64) + 64 * 8 + 8


@given(st.lists(st.integers(0, 3), max_size=40))
def test_folding_loses_no_layer(numbers: list[int]) -> None:
    layers = [Layer("linear", "", (number,), 1) for number in numbers]
    groups = folded(layers)
    assert [layer for group in groups for _ in range(group.times) for layer in group.layers] == layers


def test_a_long_sum_is_wrapped_before_a_plus() -> None:
    assert wrapped("a + bb + ccc", 6) == ["a + bb", "+ ccc"]
