"""`morpho benchmark`, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Morpho

WORDS = ["benchmark", "--models", "vae,dcgan", "--data", "digits"]


def test_a_dry_run_lists_the_runs_and_their_minutes(morpho: Morpho, tmp_path: Path) -> None:
    out = tmp_path / "b"
    said = morpho(*WORDS, "--out", out, "--minutes", 10, "--trials", 3, "--seeds", 2, "--dry-run")
    assert said.code == 0 and not out.exists()
    lines = said.out.splitlines()
    assert len(lines) == 11 and lines[0].split(maxsplit=1) == ["vae_trial=1", "its own settings"]
    assert lines[-1].startswith("10 runs, 10 minutes of training steps each: 100 min")
    told = morpho(*WORDS, "--out", out, "--search", "lr=x2", "batch_size=5000", "--dry-run", "--json").json
    assert told["seconds"] == told["seconds_left"] == (2 * 2 + 2 * 3) * 300
    assert told["refused"] and all("batch_size = 5000" in why for why in told["refused"].values())


def test_help_has_its_flags_and_those_of_data_under_start(morpho: Morpho) -> None:
    said = morpho("benchmark", "--help").out
    assert all(flag in said for flag in ("--models", "--minutes", "--trials", "--search", "--valid", "--dry-run"))
    assert "lr=x0.3,x1,x3" in said and "--latent-dim" not in said
    assert "benchmark" in morpho("--help").out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--models", "vae", "--data", "digits", "--out", "OUT"], "models = ['vae']: must be from 2"),
        (["--models", "vae,dcgn", "--out", "OUT"], "did you mean 'dcgan'"),
        ([*WORDS[1:], "--out", "OUT", "--trials", -1], "trials = -1"),
        ([*WORDS[1:], "--out", "OUT", "--by", "sharpness"], "neither more nor less of it is better"),
        ([*WORDS[1:], "--out", "OUT", "--compare", "fid"], "did you mean 'fd'"),
        ([*WORDS[1:], "--out", "OUT", "--latent-dim", 4], "--latent-dim"),
        (WORDS[1:], "--out"),
    ],
)
def test_refusals_are_a_line_and_leave_nothing(morpho: Morpho, tmp_path: Path, words: list[object], why: str) -> None:
    for more in ([], ["--dry-run"]):
        said = morpho("benchmark", *(str(tmp_path / "b") if word == "OUT" else word for word in words), *more)
        assert said.code == 2 and why in said.err and said.err.count("\n") == 1, said.err
        assert not (tmp_path / "b").exists()
