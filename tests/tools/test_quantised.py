"""A model whose codes are quantised, in every tool that treats them in a way of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import morphospace as ms
from morphospace.cli import main
from morphospace.errors import SettingError

SMALL = ["--data", "digits", "--size", "8", "--images", "640", "--batch-size", "32", "--device", "cpu"]
NETS = ["--widths", "8", "--latent-dim", "2", "--entries", "12", "--prior-width", "16", "--prior-layers", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ms.Run:
    out = tmp_path_factory.mktemp("runs") / "codes"
    assert main(["train", "vq-vae", *SMALL, *NETS, "--out", str(out)]) == 0
    return ms.load(out)


def test_it_samples_from_its_prior_by_temperature_and_top_k(run: ms.Run) -> None:
    drawn = ms.sample(run, 24)
    assert len(np.unique(drawn, axis=0)) > 12
    assert len(np.unique(ms.sample(run, 24, truncation=0), axis=0)) == 1
    assert np.array_equal(ms.sample(run, 24, top_k=12), drawn)
    few = ms.sample(run, 24, top_k=2)
    assert not np.array_equal(few, drawn)
    assert np.array_equal(ms.sample(run, 2, start=20, top_k=2), few[20:22])


def test_top_k_is_refused_where_there_is_nothing_to_choose_among(run: ms.Run, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="prior = 'gaussian': is not the model's own, which --top-k"):
        ms.sample(run, 4, prior="gaussian", top_k=3)
    with pytest.raises(SettingError, match="hold = 1: vq-vae has no such option; leave it out, or sample ladder-vae"):
        ms.sample(run, 4, hold=1)


def test_its_bits_are_bounded_and_annealing_says_why_not(run: ms.Run) -> None:
    found = {r.name: r.value for r in ms.evaluate(run, metrics=("elbo",), n=40).results}
    assert found["ELBO"] == pytest.approx(found["E log p(x|z)"] - found["KL"]) and found["ELBO in bits"] > 0
    with pytest.raises(SettingError, match="moves codes by gradients, and vq-vae quantises them; take elbo"):
        ms.evaluate(run, metrics=("ais",), n=40)


def test_diagnosis_measures_the_use_of_the_codebook(run: ms.Run) -> None:
    measured = ms.diagnose(run, n=32).measured
    assert 2 < measured["perplexity"] <= measured["entries_used"] <= measured["entries"] == 12
    assert 0 < measured["code_nats"] < 1.2 * measured["code_nats_even"]


def test_what_moves_codes_says_that_they_are_quantised(
    run: ms.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(run.path)
    assert main(["interpolate", path, "--from", "0", "--to", "1", "--out", str(tmp_path / "a.png")]) == 0
    assert (
        "codes are moved before they are quantised: each place takes the nearest of 12 entries"
        in capsys.readouterr().out
    )
    assert main(["reconstruct", path, "--out", str(tmp_path / "b.png")]) == 0
    assert "quantised" not in capsys.readouterr().out


def test_a_page_chooses_the_same_entries(run: ms.Run, tmp_path: Path) -> None:
    made = ms.export(run, tmp_path / "page.html", format="html")
    assert made.error < 0.02
