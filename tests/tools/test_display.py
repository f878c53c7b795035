"""A notebook displays what the tools return, whatever the names in it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import morphospace as ms
from morphospace.cli.app import TOOLS
from morphospace.data.pack import Split, in_memory_pack
from morphospace.pictures.display import Displayable
from tests.conftest import draw_blobs
from tests.pictures.test_display import Printer
from tests.studio.test_page_file import BRIEF, HOSTILE


def test_every_result_of_a_tool_is_displayed_and_no_field_hides_how() -> None:
    ways = {name for name in vars(Displayable) if not name.startswith("_")}
    functions = [getattr(importlib.import_module(f"morphospace.tools.{home.partition(':')[0]}"), home.partition(":")[2])
                 for home, _ in TOOLS.values()]  # fmt: skip
    results = {getattr(ms, name) for name in ("Sweep", "Benchmark", "Run", "LatentMap", "SampleGrid", "Walk")}
    for function in functions:
        module = importlib.import_module(function.__module__)
        for name in str(inspect.signature(function).return_annotation).split(" | "):
            found = vars(module).get(name) or getattr(ms, name, None)
            results |= {found} if found else set()
    assert len(results) > 15
    for result in results:
        assert issubclass(result, Displayable), result
        fields = {field.name for field in dataclasses.fields(result)} if dataclasses.is_dataclass(result) else set()
        assert not fields & ways, result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    labels = (np.arange(64) % 4).astype(np.int64)
    pack = in_memory_pack("<b>blobs</b>", Split(draw_blobs(64, (8, 8, 3)), labels=labels), label_names=HOSTILE)
    name = "<img src=x onerror=hacked=3>\u202e"
    return ms.train("cvae", data=pack, condition="label", out=tmp_path_factory.mktemp("runs") / name, **BRIEF)


def test_results_of_a_run_with_hostile_names(run: ms.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "copy")
    made = {
        "run": run,
        "walk": ms.interpolate(run, 3, 5, steps=4),
        "grid": ms.sample_grid(run, 2),
        "pairs": ms.reconstruct(run, 4),
        "evaluation": ms.evaluate(run, metrics=("mse",), n=8),
        "comparison": ms.compare([run.path, tmp_path / "copy"], metrics=("mse",), n=8),
        "diagnosis": ms.diagnose(run, n=16, classes=False),
        "diagram": ms.diagram(run),
        "card": ms.card(run),
        "morph": ms.morph(run, tmp_path / "morph.gif", pairs=(1, 2), seconds=0.2),
    }
    for name, result in made.items():
        html, png = result._repr_html_(), result._repr_png_()
        assert html or png, name
        text = re.sub(r"base64,[^\"]*", "", html or "")
        assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", text) and "\u202e" not in text, name
        assert "<script" not in text and "<img src=x" not in text, name
        assert len(html or "") < 400_000 and len(Printer(result).said) < 20_000, name
    assert "<table>" in (made["evaluation"]._repr_html_() or "")
    assert "image/webp" in (made["walk"]._repr_html_() or "") and "image/gif" in (made["morph"]._repr_html_() or "")
