"""Networks that were trained elsewhere become a run, and every tool takes it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import MorphospaceError, RunError, SettingError
from morphospace.models.contract import Encodes, seeded_noise
from tests.conftest import draw_blobs

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPE, LATENT = (16, 8, 3), 3


def decoder(last: type[nn.Module] = nn.Sigmoid) -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 384), nn.BatchNorm1d(384), last(), nn.Unflatten(1, (3, 16, 8)))


def encoder(outputs: int = LATENT) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(384, outputs))


class Own(nn.Sequential):
    """A network whose code is not of torch."""


def own_decoder() -> nn.Module:
    return Own(*decoder())  # type: ignore[misc]


class Pair(nn.Module):
    """An encoder that returns mean and log variance."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.log_variance = encoder(), encoder()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(images), self.log_variance(images)


def adopt(out: Path, *networks: nn.Module, **more: object) -> ms.Run:
    settings = {"shape": SHAPE, "latent_dim": LATENT, "out": out, **more}
    return ms.adopt(*networks, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("signed", "last"), [(False, nn.Sigmoid), (True, nn.Tanh)])
def test_samples_are_what_the_decoder_gives_in_the_stated_range(
    tmp_path: Path, signed: bool, last: type[nn.Module]
) -> None:
    network = decoder(last).train()
    run = adopt(tmp_path / "run", network, signed=signed)
    assert repr(run) == f"adopted of unknown, 16x8x3: {tmp_path / 'run'}"
    with torch.no_grad():
        values = network.eval()(seeded_noise(5, LATENT, 7))
    wanted = ((values + signed) * (127.5 if signed else 255)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(ms.sample(run, 5, seed=7), wanted)
    again = ms.load(tmp_path / "run", parts={"decoder": decoder(last)})
    assert np.array_equal(ms.sample(again, 5, seed=7), wanted)


@pytest.mark.parametrize("make", [encoder, lambda: encoder(2 * LATENT), Pair], ids=["codes", "one tensor", "two"])
def test_an_encoder_gives_codes_or_a_distribution(tmp_path: Path, make: type[nn.Module]) -> None:
    network = make()
    run = adopt(tmp_path / "run", decoder(), network, data=draw_blobs(24, SHAPE))
    assert isinstance(run.model, Encodes)
    images = torch.rand(4, 3, 16, 8)
    with torch.no_grad():
        output, posterior = network(images), run.model.encode(images)
    mean = output[0] if isinstance(output, tuple) else output[:, :LATENT]
    assert torch.equal(posterior.mean, mean)
    assert ms.reconstruct(run, 4).images.shape == (4, *SHAPE)
    assert len(ms.interpolate(run, 0, 1, steps=3).images) == 3
    assert ms.project(run, [0], refine=2).codes.shape == (1, LATENT)


def test_without_images_the_tools_that_need_none_work_and_the_others_say_so(tmp_path: Path) -> None:
    said: list[str] = []
    run = adopt(tmp_path / "run", own_decoder(), say=said.append)
    assert len(said) == 1 and said[0].startswith("Own is no plain float32 layer of torch, and its code is not kept")
    ms.pca(run)
    ms.traverse(run)
    ms.train_encoder(run, images=64)
    exported = ms.export(run, tmp_path / "decoder.pt", format="torchscript")
    assert exported.error < 1e-5
    for out in ("decoder.svg", "card.md"):
        getattr(ms, "diagram" if out.endswith("svg") else "card")(run, tmp_path / out)
    card, drawn = (tmp_path / "card.md").read_text(), (tmp_path / "decoder.svg").read_text()
    assert "parts={'decoder': decoder})  # the run" in card and "trained elsewhere and adopted" in card
    assert "phase of a training step |" not in card and "One training step" not in drawn and "384" in drawn
    with pytest.raises(RunError, match=r"was adopted without images; .*ms.load\(run, data=...\)"):
        ms.evaluate(run, n=8)
    found = ms.evaluate(run, real=draw_blobs(32, SHAPE), metrics=["fd"], features="pixels", n=32)
    assert found.results[0].value is not None


def test_a_folder_is_taken_again_only_for_the_same_networks(tmp_path: Path) -> None:
    network = own_decoder()
    adopt(tmp_path / "run", network, say=str)
    before = (tmp_path / "run" / "run.toml").read_bytes()
    adopt(tmp_path / "run", network, say=str)
    assert (tmp_path / "run" / "run.toml").read_bytes() == before
    others = (
        (own_decoder(), {}),
        (decoder(), {}),
        (network, {"signed": True}),
        (network, {"data": draw_blobs(9, SHAPE)}),
    )
    for other, more in others:
        with pytest.raises(RunError, match="other networks, settings or images; choose another folder"):
            adopt(tmp_path / "run", other, say=str, **more)
    with pytest.raises(RunError, match=r"caller's own \['decoder'\]; load it with parts"):
        ms.load(tmp_path / "run")
    settings = {"parts": {"decoder": network}, "latent_dim": LATENT}
    with pytest.raises(SettingError, match="has no objective to train by"):
        ms.train("adopted", data=draw_blobs(9, SHAPE), out=tmp_path / "run2", **settings)
    assert not (tmp_path / "run2").exists()


def test_networks_of_plain_layers_are_opened_by_every_command_of_a_later_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = adopt(tmp_path / "run", decoder(), encoder(), data=draw_blobs(24, SHAPE))
    later = ms.load(tmp_path / "run")
    assert np.array_equal(ms.sample(later, 5, seed=7), ms.sample(run, 5, seed=7))
    assert later.model.custom == () and isinstance(later.model, Encodes)
    for words in (
        ["sample", "RUN", "--n", "4", "--out", "x.png"],
        ["reconstruct", "RUN", "--n", "4", "--out", "r.png"],
        ["diagram", "RUN", "--out", "d.svg"],
        ["export", "RUN", "--format", "html", "--out", "x.html"],
        ["export", "RUN", "--format", "safetensors", "--what", "both", "--out", "x.safetensors"],
    ):
        place = [str(tmp_path / word) if "." in word else word for word in words]
        assert main([str(tmp_path / "run") if word == "RUN" else word for word in place]) == 0
    there = ms.load_exported(tmp_path / "x.safetensors")
    z = torch.randn(2, LATENT)
    with torch.no_grad():
        assert there.decoder is not None
        assert torch.equal(there.decoder(z), run.model.decode(z))  # type: ignore[attr-defined]
    capsys.readouterr()
    assert main(["runs", str(tmp_path), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert told["state"] == "adopted" and told["images"] is None


def test_a_description_of_a_stranger_is_compared_with_the_weights(tmp_path: Path) -> None:
    adopt(tmp_path / "run", decoder())
    file = tmp_path / "run" / "run.toml"
    text = file.read_text()
    for old, new, says in (
        ("384", "90000000000", "makes 180,000,000,000 numbers"),
        ("384", "768", "must give|has shape|do not run"),
        ("Sigmoid", "Eval", "none that this library knows"),
        ("Unflatten", "Flatten", "has the arguments"),
    ):
        assert old in text
        file.write_text(text.replace(old, new))
        with pytest.raises(MorphospaceError, match=says) as refused:
            ms.load(tmp_path / "run")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("network", "more", "says"),
    [
        (nn.Linear(LATENT, 384), {}, r"maps \(2, 3\) to \(2, 384\), must give \(2, 3, 16, 8\)"),
        (nn.ConvTranspose2d(LATENT, 3, 8), {}, r"failed on .* give nn.Sequential\(nn.Unflatten\(1, \(3, 1, 1\)\)"),
        (nn.Identity(), {}, "has no weights"),
        (torch.sin, {}, "must be a torch.nn.Module"),
        (decoder(), {"shape": (3, 16, 8)}, "C is 1 or 3"),
        (decoder(), {"lr": 0.1}, r"\['lr'\]: are no settings of a data source"),
        (decoder(), {"encoder": nn.Conv2d(3, 8, 1)}, r"must give \(2, 6\), or mean .*, or \(2, 3\)"),
        (decoder(), {"data": draw_blobs(9, (16, 16, 3))}, "its images are 16x16x3, those of the networks 16x8x3"),
        (decoder(lambda: nn.Threshold(1e9, torch.nan)), {}, "NaN or infinity"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, network: nn.Module, more: dict[str, object], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        adopt(tmp_path / "run", network, **more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("last", "signed", "says"),
    [(nn.Tanh, False, "signed=True"), (nn.Identity, True, "Sigmoid"), (nn.Sigmoid, True, "signed=False")],
)
def test_a_range_that_is_not_the_stated_one_is_said(
    tmp_path: Path, last: type[nn.Module], signed: bool, says: str
) -> None:
    network, lines = decoder(last), list[str]()
    nn.init.normal_(network[0].weight, std=3)  # type: ignore[index]
    adopt(tmp_path / "run", network, signed=signed, say=lines.append)
    assert len(lines) == 1 and says in lines[0]


def example(name: str) -> Any:
    """Import an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_runs(tmp_path: Path) -> None:
    made = example("adopt_decoder").main(tmp_path, steps=20)
    assert repr(made).startswith("adopted of digits, 8x8x1: ")
    assert (tmp_path / "decoder.pt").is_file() and (tmp_path / "samples.zip").is_file()


def test_an_autoencoder_of_latent_diffusion_is_adopted_with_its_codes_flattened(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    module = example("adopt_autoencoder_kl")
    run, vae = module.main(tmp_path), module.tiny().eval()
    assert run.model.latent_dim == 2 * 8 * 8
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        posterior, latents = run.model.encode(images), vae.encode(images).latent_dist
        scale = vae.config.scaling_factor
        assert torch.allclose(posterior.mean, latents.mean.flatten(1) * scale, atol=1e-5)
        assert torch.allclose(posterior.log_variance.exp(), latents.var.flatten(1) * scale**2, rtol=1e-4)
        wanted = vae.decode(latents.mean).sample.clamp(-1, 1)
        assert torch.allclose(run.model.decode(posterior.mean), wanted, atol=1e-4)
    assert ms.project(run, [0], refine=2).codes.shape == (1, 128)
    assert ms.export(run, tmp_path / "kl.pt", format="torchscript", what="both").error < 1e-3
    assert {file.name for file in tmp_path.glob("*.png")} == {
        "reconstructions.png", "walk.png", "components.png", "map.png"
    }  # fmt: skip
