"""`morpho sweep`, as a user types it, and `--lambda`, whose field has another name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from morphospace.runs.configuration import resolve

from .conftest import TINY, Morpho

SWEEP = ["sweep", "vae-gan", *TINY, "--widths", 4, "--critic-widths", 4, "--checkpoint-images", 1000]


def test_sweep_says_what_it_does_and_what_it_left(morpho: Morpho, tmp_path: Path) -> None:
    out = tmp_path / "s"
    said = morpho(*SWEEP, "--grid", "lambda=0,0.1,1", "--out", out)
    assert said.code == 0 and said.err == ""
    lines = said.out.splitlines()
    heads = [line for line in lines if line.startswith("== ")]
    assert heads == [f"== lambda={v} ({i} of 3)" for i, v in enumerate(("0", "0.1", "1"), 1)]
    (heading,) = [i for i, line in enumerate(lines) if line.startswith("lambda ")]
    assert lines[heading].split()[:3] == ["lambda", "images", "seconds"] and len(lines[heading + 1].split()) > 5
    assert str(out / "sweep.csv") in said.out and str(out / "sweep.png") in said.out
    told = morpho(*SWEEP, "--grid", "lambda=0,0.1,1", "--out", out, "--json").json
    assert [run["lambda"] for run in told["runs"]] == [0.0, 0.1, 1.0] and told["stopped"] == ""
    assert all(run["mse"] > 0 and Path(run["run"]).is_dir() for run in told["runs"])
    assert Path(told["picture"]).is_file() and Path(told["page"]).is_file()


def test_two_settings_and_a_dry_run(morpho: Morpho, tmp_path: Path) -> None:
    words = ["sweep", "vae", "--grid", "beta=0.5,1", "latent_dim=2,4", "--data", "digits", "--out", tmp_path / "s"]
    said = morpho(*words, "--dry-run", "--json").json
    assert [Path(run).name for run in said["runs"]][:2] == ["beta=0.5_latent_dim=2", "beta=0.5_latent_dim=4"]
    assert len(said["runs"]) == 4 and not (tmp_path / "s").exists()


def test_help_has_the_models_own_flags(morpho: Morpho) -> None:
    said = morpho("sweep", "vae-gan", "--help").out
    assert all(flag in said for flag in ("--grid", "--seeds", "--lambda", "--mixing", "--batch-size"))
    assert "--lambda-" not in said
    assert "--grid" in morpho("sweep", "--help").out and "sweep" in morpho("--help").out


def test_refusals(morpho: Morpho, tmp_path: Path) -> None:
    for words, message in (
        (["--grid", "lambda=0", "--out", tmp_path / "s", "--lambda", 1], "grid = 'lambda': is given as a flag"),
        (["--grid", "lamda=0", "--out", tmp_path / "s"], "did you mean 'lambda'"),
        (["--grid", "lambda=0"], "--out: must be given"),
        (["--out", tmp_path / "s"], "--grid: must be given"),
        (["--grid", "lambda=0", "--out", tmp_path / "s", "--lamda", 1], "did you mean --lambda"),
    ):
        said = morpho("sweep", "vae-gan", *words)
        assert said.code == 2 and message in said.err and said.err.count("\n") == 1, said.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    assert "is not a sweep" in morpho("sweep", "vae", "--grid", "beta=1", "--out", tmp_path / "full").err


def test_lambda_is_lambda_everywhere_a_user_looks(morpho: Morpho, tmp_path: Path) -> None:
    said = morpho("train", "vae-gan", "--lambda", 0.5, "--dry-run", "--json").json
    assert said["model"]["lambda"] == 0.5 and "lambda_" not in said["model"]
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nname = "vae-gan"\nlambda = 0.25\nmixing = "mix"\n')
    made = resolve(recipe=str(file))
    assert made.model.lambda_ == 0.25  # type: ignore[attr-defined]
    assert tomllib.loads(made.to_toml())["model"]["lambda"] == 0.25
    for key in ("lambda", "lambda_"):
        assert resolve(recipe=str(file), overrides={key: 0.75}).model.lambda_ == 0.75  # type: ignore[attr-defined]
    assert made.differences(resolve(recipe=str(file), overrides={"lambda": 0.5})) == ["lambda = 0.5, was 0.25"]
    refused = morpho("train", "vae", "--lambda", 1, "--dry-run").err
    assert {"wae", "info-vae", "vae-gan"} == set(
        re.findall(r"[\w-]+", refused.partition("it is one of ")[2].partition(")")[0])
    )
