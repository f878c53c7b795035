"""The diagram of a run, a model and a recipe, as a tool, in the report and beside the card."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import RunError, SettingError

SMALL = {"images": 64, "batch_size": 32, "widths": (8,), "device": "cpu", "data": "digits", "latent_dim": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    return ms.train("vae", out=tmp_path_factory.mktemp("home") / "mine", tower="mlp", **SMALL)  # type: ignore[arg-type]


def test_a_run_needs_no_data(
    run: ms.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("morphospace.runs.run.own_images", None)  # would be called for the images
    assert main(["diagram", str(run.path), "--out", str(tmp_path / "model.svg"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    sizes = {name: sum(p.numel() for p in run.model.networks[name].parameters()) for name in ("encoder", "decoder")}
    assert told["parameters"] == sizes and told["shape"] == [8, 8, 1]
    assert told["phases"][0]["terms"] == {"reconstruction": 1.0, "kl": 1.0}
    ElementTree.parse(tmp_path / "model.svg")
    assert ms.diagram(run).anatomy == ms.diagram(run.path).anatomy == ms.diagram(run.model).anatomy


def test_report_and_card_show_it(run: ms.Run, tmp_path: Path) -> None:
    assert "data:image/svg+xml;base64," in (run.path / "report.html").read_text()
    text = ms.card(run, tmp_path / "my card.md")
    ElementTree.parse(tmp_path / "my card-diagram.svg")
    assert "(my%20card-diagram.svg)" in text and "| `vae` | encoder, decoder | `reconstruction + kl` |" in text
    assert "diagram.svg" not in ms.card(run)


def test_models_and_recipes_by_name(tmp_path: Path) -> None:
    made = ms.diagram("dcgan", tmp_path / "gan.svg", size="32x16", channels=1, settings={"latent_dim": 7})
    assert made.anatomy.shape == (32, 16, 1) and made.anatomy.parts[0].given == (7,)
    assert made.media().content.decode() == (tmp_path / "gan.svg").read_text()
    assert ms.diagram("dcgan-128").anatomy.shape == (128, 128, 3)
    assert ms.diagram("toyfaces-mask-vae").anatomy.model == "mask-vae"


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="did you mean 'dcgan'"):
        ms.diagram("dcgam")
    with pytest.raises(SettingError, match=r"ends in \.svg"):
        ms.diagram("vae", tmp_path / "vae.png")
    with pytest.raises(SettingError, match="no such setting"):
        ms.diagram("vae", settings={"packing": 2})
    parts = {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(64, 6))}
    run = ms.train("vae", out=tmp_path / "own", parts=parts, **SMALL)  # type: ignore[arg-type]
    ElementTree.parse(run.path / "diagram.svg")
    with pytest.raises(RunError, match=r"see diagram\.svg in its folder"):
        ms.diagram(run.path)
    assert ms.diagram(run).anatomy.parts[0].parameters == 64 * 6 + 6
