"""`morpho evaluate`, as a user types it, and as a program reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Morpho

BRIEF = ["--metrics", "fd,pr", "--features", "pixels", "--n", "60"]


def test_a_run_and_what_it_leaves(morpho: Morpho, runs: dict[str, Path]) -> None:
    said = morpho("evaluate", runs["vae"], *BRIEF)
    assert said.code == 0
    assert "FD[pixels]" in said.out and "precision[pixels]" in said.out and " to " in said.out
    assert "real: digits test, 60 images" in said.out and "half samples" in said.out
    kept = json.loads((runs["vae"] / "evaluation.json").read_text())["results"]
    told = morpho("evaluate", runs["vae"], *BRIEF, "--json").json
    assert told["results"] == kept and told["out"] == str(runs["vae"] / "evaluation.json")


def test_two_sets_without_a_run(morpho: Morpho) -> None:
    told = morpho("evaluate", "--real", "digits", "--fake", "digits", "--fake-split", "train", *BRIEF, "--json").json
    assert told["run"] is None and told["out"] is None
    assert told["results"][0]["conditions"]["fake_split"] == "train"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a run, or two sets with --real and --fake"),
        (["--real", "digits"], "give a run, or two sets"),
        (["nowhere"], "no run.toml there"),
        (["RUN", "--metrics", "fid"], "did you mean 'fd'"),
        (["RUN", "--features", "classifer"], "did you mean 'classifier'"),
        (["RUN", "--n", "1"], "n = 1"),
    ],
)
def test_refusals(morpho: Morpho, runs: dict[str, Path], words: list[str], why: str) -> None:
    said = morpho("evaluate", *(str(runs["dcgan"]) if word == "RUN" else word for word in words))
    assert said.code == 2 and why in said.err and said.err.count("\n") == 1
    assert not (runs["dcgan"] / "evaluation.json").exists()
