"""`morpho diagnose`, as a user types it, and as a program reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import TINY, Morpho


def test_what_it_says_and_what_it_prints(morpho: Morpho, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["--reduction", "mean", "--beta", 4, "--tower", "mlp", "--widths", 8, "--lr", 0.01, "--epochs", 4]
    assert morpho("train", "vae", *TINY[:-2], *settings, "--out", run).code == 0
    told = morpho("diagnose", run, "--n", 40, "--json").json
    assert told["severity"] == "fault" and told["conditions"]["samples"] == 40
    collapse = next(finding for finding in told["findings"] if finding["name"] == "posterior collapse")
    assert collapse["evidence"]["beta_in_nats"] == 256 and collapse["advice"].startswith("--reduction sum")
    said = morpho("diagnose", run, "--n", 40)
    assert said.code == 0 and said.err == ""
    assert f"{run} at" in said.out and "fault: posterior collapse:" in said.out
    assert "try: --reduction sum --beta 1" in said.out and "0 of 2" in said.out and "roughness" in said.out


@pytest.mark.parametrize("name", ["vae", "ae", "dcgan"])
def test_any_run_can_be_looked_over(morpho: Morpho, runs: dict[str, Path], name: str) -> None:
    told = morpho("diagnose", runs[name], "--n", 30, "--json")
    assert told.code == 0 and told.json["run"] == str(runs[name]) and "duplicates" in told.json["measured"]


def test_refusals(morpho: Morpho, runs: dict[str, Path], tmp_path: Path) -> None:
    for words, why in (((runs["vae"], "--n", 2), "n = 2: must be from 16"), ((tmp_path / "no",), "no run.toml there")):
        said = morpho("diagnose", *words)
        assert said.code == 2 and said.err.startswith("error: ") and why in said.err and said.err.count("\n") == 1
