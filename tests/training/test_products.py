"""Which layers are products is found by trial when a run begins, kept in the run, and changes numbers by rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import morphospace as ms
from morphospace.models.contract import Model
from morphospace.models.products import use_products
from morphospace.runs.checkpoints import last_numbers, load_tensors
from morphospace.runs.configuration import resolve
from morphospace.runs.folder import RunFolder
from morphospace.tools.train.job import Hooks
from morphospace.training import products
from morphospace.training.anatomy import anatomy
from morphospace.training.products import deep_layers, faster_as_products

TINY: dict[str, Any] = {
    "data": "digits", "size": "16", "images": 64, "batch_size": 16, "widths": (64, 64), "latent_dim": 4,
    "device": "cpu", "precision": "fp32", "report_images": 32, "checkpoint_images": 32, "keep": 10,
}  # fmt: skip
DEEP = ["generator.body.2", "critic.body.2"]


def built(name: str = "dcgan", **settings: Any) -> Model:
    torch.manual_seed(0)
    return resolve(name, overrides={"widths": (64, 64), "latent_dim": 4, **settings}).model.build((16, 16, 1))


def weights(run: Path, images: int = 64) -> dict[str, torch.Tensor]:
    return load_tensors(run / "checkpoints" / f"{images:012d}" / "model.safetensors")


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "gain", lambda *_: 1.5)


def test_deep_layers_are_found_by_a_step_that_changes_nothing() -> None:
    model = built()
    before = {name: value.clone() for name, value in model.networks.state_dict().items()}
    state = torch.random.get_rng_state()
    assert deep_layers(model) == {"generator.body.2": (4, 4), "critic.body.2": (8, 8)}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.networks.state_dict().items())
    assert not deep_layers(built(widths=(32, 32)))
    assert not deep_layers(built("vae", tower="mlp"))
    assert not deep_layers(built("sngan")).keys() - {"generator.body.2"}  # a spectral norm has a class of its own


def test_a_layer_is_taken_only_where_it_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "gain", lambda layer, *_: 1.5 if isinstance(layer, torch.nn.Conv2d) else 1.05)
    assert faster_as_products(built(), 16, "fp32") == {"critic.body.2": 1.5}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_trial_gives_a_ratio_and_leaves_the_layer_as_it_was(precision: str) -> None:
    layer = built().networks.get_submodule("critic.body.2")
    assert products.gain(layer, (8, 8), 2, precision) > 0
    assert type(layer) is torch.nn.Conv2d and layer.weight.grad is None


def test_a_run_keeps_its_layers_and_resumes_exactly(
    gains: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = "wgan-gp"  # differentiates its critic twice
    said: list[str] = []
    whole = ms.train(model, out=tmp_path / "whole", hooks=Hooks(say=said.append), **TINY)
    assert any("generator.body.2 (1.5 times as fast)" in line for line in said)
    ms.train(model, out=tmp_path / "part", **{**TINY, "images": 32})
    monkeypatch.setattr(products, "gain", lambda *_: 0.5)  # another answer than when the run began
    part = ms.train(model, out=tmp_path / "part", exact=True, **TINY)
    assert all(torch.equal(value, weights(part.path)[name]) for name, value in weights(whole.path).items())
    assert RunFolder.open(part.path).facts["products"] == last_numbers(part.path / "checkpoints")["products"] == DEEP
    plain = ms.train(model, out=tmp_path / "plain", **TINY, products=False)
    pairs = [(value, weights(plain.path)[name]) for name, value in weights(whole.path).items()]
    assert not all(torch.equal(*pair) for pair in pairs)
    assert all(torch.allclose(*pair, atol=2e-3) for pair in pairs)


def test_a_run_of_before_continues_as_it_was(gains: None, tmp_path: Path) -> None:
    run = ms.train("dcgan", out=tmp_path / "run", **{**TINY, "images": 32}, products=False)
    toml = run.path / "run.toml"
    toml.write_text("\n".join(line for line in toml.read_text().splitlines() if not line.startswith("products")))
    said: list[str] = []
    ms.train("dcgan", out=tmp_path / "run", hooks=Hooks(say=said.append), exact=True, **TINY)
    assert last_numbers(run.path / "checkpoints")["products"] == []
    assert not any("products" in line for line in said)


def test_a_run_that_stops_using_products_says_so(gains: None, tmp_path: Path) -> None:
    ms.train("dcgan", out=tmp_path / "run", **{**TINY, "images": 32})
    said: list[str] = []
    ms.train("dcgan", out=tmp_path / "run", hooks=Hooks(say=said.append), products=False, **TINY)
    assert any("layers as products [], was" in line for line in said)


def test_the_diagram_of_a_model_in_training_is_the_same() -> None:
    model = built()
    before = anatomy(model)
    use_products(model.networks, DEEP)
    assert anatomy(model) == before
