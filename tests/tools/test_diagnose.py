"""A run looked over: collapse that was planted is found, a healthy one is left in peace."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import SettingError, TrainingError
from morphospace.evaluation.collapse import REMEDIES
from morphospace.evaluation.diagnose import HOLDS, SETTLES, STRENGTHENS, WEAKENS, Options, advised
from morphospace.models.likelihoods import Bernoulli
from morphospace.runs.configuration import flag_for, resolve
from morphospace.tools.diagnose.looks import guessing
from morphospace.zoo.settings import ZOO

SMALL = {"data": "digits", "size": "8", "latent_dim": 4, "device": "cpu", "batch_size": 64}
MLP = {**SMALL, "tower": "mlp", "widths": (64,), "lr": 3e-3, "report_images": 2000, "checkpoint_images": 10**6}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ms.Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "healthy": ms.train("vae", out=folder / "healthy", images=15_000, **MLP),
        # As celeba-vae: the error averaged over pixels, the KL summed.
        "collapsed": ms.train("vae", out=folder / "collapsed", images=6_000, reduction="mean", **MLP),
        "ae": ms.train("ae", out=folder / "ae", images=2_000, **MLP),
        "gan": ms.train("dcgan", out=folder / "gan", images=640, widths=(8,), **SMALL),
        "cvae": ms.train("cvae", out=folder / "cvae", images=4_000, **MLP),
    }


def test_a_healthy_run_is_left_in_peace(runs: dict[str, ms.Run]) -> None:
    found = ms.diagnose(runs["healthy"], n=100)
    assert found.severity in ("healthy", "note"), found.findings
    assert found.measured["active_units"] == 4 and found.measured["kl_nats"] > 1.5
    assert len(found.measured["kl_per_unit"]) == 4 and found.measured["copies"] < 0.1
    assert json.loads(json.dumps(found.as_dict()))["severity"] == found.severity


def test_collapse_as_published_is_found(runs: dict[str, ms.Run]) -> None:
    found = ms.diagnose(runs["collapsed"], n=100)
    names = {finding.name: finding for finding in found.findings}
    assert found.severity == "fault" and found.measured["active_units"] == 0
    collapse = names["posterior collapse"]
    assert collapse.severity == "fault" and collapse.evidence["beta_in_nats"] == 64  # 8 x 8 values
    assert "--reduction sum --beta 1" in collapse.advice
    assert names["samples alike"].severity == "fault" and found.measured["sample_spread"] < 0.05


def test_every_family_can_be_looked_over(runs: dict[str, ms.Run]) -> None:
    ae = ms.diagnose(runs["ae"], n=50)
    assert ae.measured["kl_nats"] is None and ae.measured["units"] == 4
    gan = ms.diagnose(runs["gan"], n=50)
    assert "units" not in gan.measured and "duplicates" in gan.measured
    assert ms.diagnose(runs["cvae"], n=50).measured["active_units"] >= 1
    again = ms.diagnose(runs["gan"].path, n=50)
    assert again.as_dict() == gan.as_dict()


def test_a_generator_of_copies_is_found(runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    train = runs["gan"].pack.split("train").images

    def copies(run: object, n: int, seed: int) -> np.ndarray:
        return np.asarray(train[:n])

    monkeypatch.setattr("morphospace.tools.diagnose.looks.sample", copies)
    found = {finding.name: finding for finding in ms.diagnose(runs["gan"], n=60).findings}
    assert found["memorised"].severity == "fault" and "samples alike" not in found

    monkeypatch.setattr(
        "morphospace.tools.diagnose.looks.sample", lambda run, n, seed: np.repeat(train[:4], n // 4, axis=0)
    )
    found = {finding.name: finding for finding in ms.diagnose(runs["gan"], n=60).findings}
    assert found["samples alike"].severity == "fault"


def test_classes_that_samples_do_not_show_are_named(runs: dict[str, ms.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of the training set stand in for samples: all classes, then five of ten, then one."""
    train = runs["gan"].pack.split("train")
    labels = np.asarray(train.labels)

    def drawn_from(classes: int) -> dict[str, Any]:
        rows = np.flatnonzero(labels < classes)
        monkeypatch.setattr(
            "morphospace.tools.diagnose.looks.sample", lambda run, n, seed: train.images[rows[np.arange(n) % len(rows)]]
        )
        found = ms.diagnose(runs["gan"], n=200)
        return {**found.measured, **{finding.name: finding for finding in found.findings}}

    whole = drawn_from(10)
    assert whole["modes"] == whole["modes_of_real"] == 10 and "missing modes" not in whole
    half = drawn_from(5)
    assert half["modes"] == 5 and half["missing modes"].severity == "warning"
    assert "5 of 10 classes; missing: 5, 6, 7, 8, 9" in half["missing modes"].says
    assert drawn_from(1)["missing modes"].severity == "fault"
    assert "modes" not in ms.diagnose(runs["gan"], n=199).measured  # too few of each to say
    assert "modes" not in ms.diagnose(runs["gan"], n=200, classes=False).measured


def test_a_class_that_no_test_image_shows_is_no_reason_to_stop(runs: dict[str, ms.Run]) -> None:
    whole = runs["gan"].pack
    kept = np.flatnonzero(np.asarray(whole.split("test").labels) < 9)
    test = Split(whole.split("test").images[kept], labels=whole.split("test").labels[kept])
    lacking = in_memory_pack("nine", whole.split("train"), label_names=whole.label_names, test=test)
    run = ms.load(runs["gan"].path, device="cpu")
    vars(run)["pack"] = lacking
    assert ms.diagnose(run, n=200).measured["modes_of_real"] in (9, 10)  # as the classifier sees them


def test_a_run_that_was_stopped_by_a_loss_that_is_none_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = Bernoulli.log_prob, iter(range(1000))

    def broken(self: Bernoulli, *images: torch.Tensor) -> torch.Tensor:
        return plain(self, *images) * (math.nan if next(calls) > 12 else 1.0)

    settings = {**MLP, "report_images": 64, "checkpoint_images": 128, "images": 6_000}
    with monkeypatch.context() as patch:
        patch.setattr(Bernoulli, "log_prob", broken)
        with pytest.raises(TrainingError, match="vae/reconstruction is nan"):
            ms.train("vae", out=tmp_path / "r", **settings)
    found = {finding.name: finding for finding in ms.diagnose(tmp_path / "r", n=50).findings}
    assert "vae/reconstruction is nan" in found["numbers not finite"].says
    again = ms.train("vae", out=tmp_path / "r", **settings)  # gone on with, the line is forgotten
    assert "numbers not finite" not in {finding.name for finding in ms.diagnose(again, n=50).findings}


def test_what_a_guessing_critic_loses() -> None:
    from morphospace.objectives.adversarial import HINGE, LEAST_SQUARES, NONSATURATING, RELATIVISTIC, WASSERSTEIN

    class Judge:
        def __init__(self, objective: object) -> None:
            self.objective = objective

        def score(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            return images

    expected = {NONSATURATING: 1.3863, HINGE: 2.0, LEAST_SQUARES: 0.25, RELATIVISTIC: 0.6931, WASSERSTEIN: 0.0}
    for objective, chance in expected.items():
        assert guessing(Judge(objective)) == pytest.approx(chance, abs=1e-3)  # type: ignore[arg-type]
    assert guessing(object()) == 0  # type: ignore[arg-type]


def test_refusals(runs: dict[str, ms.Run]) -> None:
    with pytest.raises(SettingError, match="n = 3: must be from 16"):
        ms.diagnose(runs["gan"], n=3)


def test_a_run_with_one_image_held_out_can_be_looked_over(tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(np.full((8, 8), 12 * number, np.uint8)).save(folder / f"{number:02}.png")
    how: dict[str, Any] = {"images": 64, "batch_size": 8, "tower": "mlp", "widths": (8,), "latent_dim": 2}
    run = ms.train("vae", data=f"folder:{folder}", out=tmp_path / "r", device="cpu", **how)
    assert "duplicates" in ms.diagnose(run, n=32).measured


@pytest.mark.parametrize("options", [HOLDS, WEAKENS, STRENGTHENS, SETTLES, REMEDIES])
def test_advice_about_a_critic_is_taken_by_the_run_that_gets_it(options: Options) -> None:
    runs = [resolve(name) for name in ZOO]
    for words, settings in options.items():
        assert not settings or any(run.takes(settings) for run in runs), words
        if len(settings) == 1:  # what the words say is what is tried
            assert flag_for(*settings) in words


def test_advice_leaves_out_what_a_run_would_refuse() -> None:
    assert "--turns" in advised(STRENGTHENS, resolve("dcgan").takes)
    assert "--turns" not in advised(STRENGTHENS, resolve("bigan").takes)
    assert "--turns" not in advised(STRENGTHENS, resolve("vae-gan").takes)
    assert "--packing" not in advised(REMEDIES, resolve("bigan").takes)
    assert "--gradient-penalty" not in advised(HOLDS, resolve("wgan").takes)
    assert advised(HOLDS, resolve("vae").takes) == "a lower --lr or --clip 1"
