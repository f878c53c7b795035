"""The zoo's page: what a benchmark found, in the rows and sentences of docs/zoo.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench import zoo


def found_of(tuned: bool) -> dict[str, Any]:
    """Return what benchmark.json would hold of two models."""

    def number(run: str, measure: str, value: float, spread: str) -> dict[str, Any]:
        ends = {"least": value - 1.5, "most": value + 1.5} if spread == "training" else {"least": None, "most": None}
        return {"run": run, "measure": measure, "spread": spread, "value": value, **ends}

    sampled = [number("vae_seed=1", "FD[pixels]", 99.0, "sampling")]
    over_seeds = [number(run, "FD[pixels]", value, "training") for run, value in (("vae", 41.26), ("dcgan", 30.04))]
    others = [("vae", "MSE", 0.01234), ("dcgan", "class accuracy[pixels]", 3.0)]
    others += [("dcgan", "class accuracy, worst[pixels]", 0.0)]
    over_seeds += [number(*other, "training") for other in others]

    def model(name: str, seconds: float) -> dict[str, Any]:
        runs = [{"run": f"{name}_seed={seed}", "images": 1000 * seed} for seed in (1, 2)]
        return {"model": name, "runs": runs, "training_minutes": 2 * seconds / 60, "chosen": {"lr": 0.001}}

    words = {"best": "dcgan", "open": []}
    verdicts = [
        {"measure": "FD[pixels]", "text": "FD: dcgan is best. It beats vae.", **words},
        {"measure": "coverage[pixels]", "text": "coverage: no column of the page.", **words},
    ]
    return {
        "asked": {"minutes": 0.5, "trials": 2 if tuned else 0, "seeds": 2},
        "models": [model("vae", 30.0), model("dcgan", 33.0)],
        "verdicts": verdicts,
        "comparison": {"numbers": sampled + over_seeds},
    }


@pytest.mark.parametrize("tuned", [True, False])
def test_a_section_has_the_verdicts_and_a_row_for_each_model_the_best_first(tmp_path: Path, tuned: bool) -> None:
    (tmp_path / "benchmark.json").write_text(json.dumps(found_of(tuned)))
    (tmp_path / "memory.json").write_text(json.dumps({"vae": 512}))
    lines = zoo.section("digits", tmp_path).splitlines()
    assert "2 models, 0.5 minutes for each run, 2 seeds" in lines[0]
    assert ("2 settings of each were tried" in lines[0]) == tuned
    assert [line for line in lines if line.startswith("- ")] == ["- FD: dcgan is best. It beats vae."]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    own = ["lr 0.001"] if tuned else []
    assert cells[1] == ["dcgan", "**30** (29 to 32)", "", "", "", "3.00 (1.50 to 4.50)", "", "1,500", "0.55", "", *own]
    assert cells[2] == [
        "vae",
        "41 (40 to 43)",
        "",
        "",
        "",
        "",
        "0.0123 (-1.4877 to 1.5123)",
        "1,500",
        "0.50",
        "512",
        *own,
    ]
    assert {len(row) for row in cells} == {len(cells[0])}


def test_a_section_takes_the_place_of_what_stood_between_its_markers() -> None:
    page = "a\n<!-- digits -->\nold \\1\n<!-- end of digits -->\nb <!-- celeba --><!-- end of celeba -->"
    once = zoo.filled(page, "digits", "new \\g<0>")
    assert once == page.replace("\nold \\1\n", "\n\nnew \\g<0>\n\n")
    assert zoo.filled(once, "digits", "new \\g<0>") == once
    with pytest.raises(ValueError, match="toyfaces"):
        zoo.filled(page, "toyfaces", "text")


def test_the_page_has_a_place_for_each_data_set() -> None:
    page = zoo.PAGE.read_text(encoding="utf-8")
    for name in zoo.SETS:
        assert zoo.filled(page, name, "x") != page


def test_no_samples_of_photographs_of_people_are_shown() -> None:
    assert not zoo.SETS["celeba"].pictured
    assert not (zoo.ROOT / "docs" / "images" / "zoo-celeba.png").exists()
