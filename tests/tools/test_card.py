"""Model cards: what they must say, and what they must not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import RunError, SettingError
from morphospace.tools.card.facts import card_text
from tests.conftest import draw_blobs

SMALL = {"images": 64, "batch_size": 32, "widths": (8,), "tower": "mlp", "device": "cpu", "report_images": 10**6}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    return ms.train("vae", data="digits", beta=2.0, latent_dim=3, out=tmp_path_factory.mktemp("home") / "mine", **SMALL)


def test_a_card_says_what_the_run_is(run: ms.Run, tmp_path: Path) -> None:
    text = ms.card(run.path, tmp_path / "card.md")
    assert (tmp_path / "card.md").read_text() == text
    head, body = text.split("---\n")[1:3]
    assert "library_name: morphospace" in head and "license: other" in head
    for line in (
        "# mine",
        "`vae`: Variational autoencoder",
        "grey images of 8x8 pixels from codes of 3 numbers",
        "| licence and terms | CC BY 4.0 (UCI, Alpaydin and Kaynak 1998) |",
        f"| hash | `{run.folder.facts['data_hash']}` |",
        "| `beta` | `2.0` |",
        "| `widths` | `[8]` |",
        "64 images (",
        "Not evaluated yet.",
        "run = ms.load('mine')",
        f"{run.model.parameters():,} parameters",
    ):
        assert line in body, line
    assert "valid/loss" in body and "| `optimizer`" not in body  # a default
    assert str(run.path.parent) not in text and "device" not in text


def test_the_code_on_the_card_runs(run: ms.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent)
    code = ms.card(run).split("```python\n")[1].split("```")[0]
    program: dict[str, object] = {}
    exec(code, program)
    assert program["images"].shape == (16, 8, 8, 1)  # type: ignore[attr-defined]


def test_an_evaluation_is_told(run: ms.Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "mine")
    row = {"name": "FD[pixels]", "value": 12.345678, "low": 12.0, "high": 13.0, "unit": "", "conditions": {"n": 100}}
    (copy / "evaluation.json").write_text(json.dumps({"results": [row, {**row, "name": "KID"}]}))
    text = ms.card(copy)
    assert (
        "| FD[pixels] | 12.35 (12 to 13) | n 100 |\n| KID | 12.35 (12 to 13) | n 100 |\n\n" in text
        and "Not evaluated" not in text
    )
    (copy / "evaluation.json").write_text(json.dumps({"results": [{**row, "value": None, "low": None}]}))
    assert "nan" in ms.card(copy)  # a value that is not finite
    (copy / "evaluation.json").write_text("{}")
    with pytest.raises(RunError, match=r"evaluation\.json: does not hold results"):
        ms.card(copy)


def test_refused_paths(run: ms.Run, tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "card.txt"):
        with pytest.raises(SettingError, match=r"must be a file name that ends in \.md"):
            ms.card(run, out)


def test_a_folder_of_photographs_is_not_named_by_its_place(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "private" / "me").mkdir(parents=True)
    for i, pixels in enumerate(draw_blobs(40, (8, 8, 3))):
        Image.fromarray(pixels).save(tmp_path / "private" / "me" / f"{i}.png")
    data = f"folder:{tmp_path / 'private'}"
    text = ms.card(ms.train("vae", data=data, size=8, latent_dim=2, out=tmp_path / "r", **SMALL))
    assert str(tmp_path) not in text and "| licence and terms | yours |" in text


def test_a_conditional_run_on_ones_own_arrays(tmp_path: Path) -> None:
    labels = (np.arange(64) % 2).astype(np.int64)
    pack = in_memory_pack("mine", Split(draw_blobs(64, (8, 8, 1)), labels=labels), label_names=("a|b", "c"))
    run = ms.train("cvae", data=pack, latent_dim=2, out=tmp_path / "c", **SMALL)
    text = ms.card(run)
    assert "label='a|b'" in text and "not known to the library" in text


def facts(**more: object) -> dict[str, object]:
    values: dict[str, object] = {
        "title": "r", "name": "r", "model": "vae", "about": "VAE.", "paper": "K 2014", "shape": (8, 8, 3),
        "adopted": False,
        "latent_dim": 2,
        "condition": (), "can": (), "parameters": {"decoder": 10}, "data": "celeba", "data_about": "faces",
        "data_hash": "0", "licence": "non-commercial research only", "source": "", "settings": {},
        "images_trained": 10, "images_taken": 5, "epochs": 1.0, "seconds": 9000.0, "history": {},
        "held_out": False, "results": [], "versions": {}, "created": "2026-01-01T00:00:00", "picture": "",
        "phases": [("vae", ("decoder",), "loss")], "custom": (), "address": "r", "page": "",
    }  # fmt: skip
    return {**values, **more}


def test_terms_of_the_data_are_a_warning_where_they_restrict() -> None:
    text = card_text(facts())
    assert "**Research only.**" in text and "photographs of celebrities" in text and "2.5 h" in text
    assert "The weights are those at 5." in text and "All settings are the defaults." in text
    free = card_text(facts(data="toyfaces", licence="none needed"))
    assert "Research only" not in free and "photographs of celebrities" not in free


def test_names_of_classes_are_shown_as_text() -> None:
    text = card_text(facts(condition=("$x$", "\x1b[31mred", "<b>", "*b*", "[l](javascript:1)", "a\u202eb")))
    assert r"\$x\$, \x1b[31mred, \<b\>, \*b\*, [l]\(javascript:1), a\u202eb" in text.replace("\\\\", "\\")
    assert "\x1b" not in text and "\u202e" not in text


def test_no_name_breaks_the_header() -> None:
    text = card_text(facts(data='a: "b"\n---\nlicense: mit', name="x\n---"))
    head = text.split("\n---\n")[0]
    assert "license: mit" not in head.splitlines()
