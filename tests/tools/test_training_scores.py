"""Metrics on the way: they change nothing, choose the best, end a run, and are said again of images that had no say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import morphospace as ms
from morphospace.data.pack import Split, in_memory_pack
from morphospace.errors import SettingError
from morphospace.tools.evaluate import evidence
from morphospace.tools.evaluate.evidence import Evidence, Side
from morphospace.tools.evaluate.set_metrics import frechet
from morphospace.tools.train.scoring import FRESH, Scorer, planned, sides
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Checkpointed, Event, Finished, Reported, Scored, Validated
from morphospace.training.selection import Score
from morphospace.training.settings import TrainingSettings
from tests.cli.conftest import TINY, Morpho, morpho, quiet_place  # noqa: F401
from tests.conftest import draw_blobs
from tests.training.test_distributed import free_port

PLAIN: dict[str, Any] = {
    "data": "digits",
    "images": 800,
    "batch_size": 32,
    "report_images": 160,
    "checkpoint_images": 160,
    "keep": 9,
    "widths": (8,),
    "latent_dim": 4,
    "ema_halflife_images": 100,
    "device": "cpu",
}
WATCHED = PLAIN | {"metrics": ("fd", "precision"), "metrics_features": "pixels", "metrics_n": 60}


class Stopped(Exception):
    """A kill, for all that the run's folder can tell."""


def contents(run: Path) -> dict[str, bytes]:
    """Everything of the last checkpoint but its numbers."""
    last = run / "checkpoints" / (run / "checkpoints" / "last").read_text()
    return {file.name: file.read_bytes() for file in last.glob("*.safetensors")}


def lines(run: Path) -> list[dict[str, Any]]:
    """The run's numbers without times."""
    timed = ("seconds", "images_per_second", "scoring_seconds")
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in timed} for line in found]


def scores(run: Path, name: str) -> dict[int, float]:
    return {line["images"]: line[f"metric/{name}"] for line in lines(run) if f"metric/{name}" in line}


@pytest.fixture(scope="module", autouse=True)
def _no_curves() -> Iterator[None]:
    """Curves take nine tenths of a small run's time, and are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("morphospace.runs.recorder.draw_curves", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def straight(_no_curves: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GAN that was watched, its best chosen by a distance."""
    out = tmp_path_factory.mktemp("straight") / "gan"
    ms.train("dcgan", out=out, best="fd", **WATCHED)
    return out


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_watching_changes_nothing(name: str, tmp_path: Path) -> None:
    states: list[torch.Tensor] = []
    same: list[bool] = []

    def told(event: Event) -> None:
        # The event before a scoring is a report or, where there is one, a validation.
        if isinstance(event, Reported | Validated):
            states.append(torch.get_rng_state())
        if isinstance(event, Scored):
            same.append(torch.equal(torch.get_rng_state(), states[-1]))
            assert event.seconds > 0

    ms.train(name, out=tmp_path / "plain", **PLAIN)
    ms.train(name, out=tmp_path / "watched", hooks=Hooks(listeners=[told]), **WATCHED)
    assert contents(tmp_path / "plain") == contents(tmp_path / "watched")
    assert same == [True] * 5
    unscored = [line for line in lines(tmp_path / "watched") if "metric/fd" not in line]
    assert unscored == lines(tmp_path / "plain")
    for run in ("plain", "watched"):
        assert (tmp_path / run / "checkpoints" / "best").is_file() == (name == "vae")


def test_both_weights_are_scored_and_the_best_is_chosen_and_said_of_both_splits(straight: Path) -> None:
    by = scores(straight, "fd")
    assert list(by) == [160, 320, 480, 640, 800] and by.keys() == scores(straight, "recall@raw").keys()
    best = int((straight / "checkpoints" / "best").read_text())
    assert best == min(by, key=by.__getitem__)
    said = json.loads((straight / "best.json").read_text())
    assert (said["checkpoint"], said["by"], said["better"]) == (best, "fd", "lower")
    chosen, reported = said["selection"]["fd"], said["report"]["fd"]
    assert chosen["value"] == by[best]  # found again, to the last bit
    about = [(found["conditions"]["split"], found["conditions"]["seed"]) for found in (chosen, reported)]
    assert about == [("held-out", FRESH), ("test", 0)]
    assert {found["conditions"]["n_real"] for found in (chosen, reported)} == {60}
    assert {found["conditions"]["n_fake"] for found in (chosen, reported)} == {60}
    again = ms.evaluate(straight, metrics=("fd",), n=60, features="pixels")
    assert again.results[0].as_dict() == reported
    report = (straight / "report.html").read_text()
    assert "The best checkpoint" in report and "60 held-out" in report and "60 test" in report
    raw = ms.load(straight, checkpoint=str(best), raw=True)
    own = Evidence(sides(raw.pack, 0.05, 60)[0], None, raw, 60, FRESH, "pixels")
    assert frechet(own)[0].value == scores(straight, "fd@raw")[best] != by[best]


def test_samples_are_scored_from_the_prior_that_they_will_be_taken_from(tmp_path: Path) -> None:
    run = ms.train("wae", out=tmp_path / "wae", best="fd", **{**WATCHED, "images": 320})
    reported = json.loads((tmp_path / "wae" / "best.json").read_text())["report"]["fd"]
    assert reported["conditions"]["prior"] == "mixture"
    assert ms.evaluate(run, metrics=("fd",), n=60, features="pixels").results[0].as_dict() == reported


def test_no_prior_is_decided_on_where_no_sample_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds at each scoring."""
    monkeypatch.setattr(evidence, "named_prior", lambda run, kind: pytest.fail("nothing samples"))
    run = ms.train("vae", out=tmp_path / "r", best="psnr", **{**WATCHED, "metrics": ("mse",), "images": 320})
    ms.evaluate(run, metrics=("mse", "psnr"), n=60)
    with pytest.raises(pytest.fail.Exception, match="nothing samples"):
        ms.evaluate(run, metrics=("fd",), n=60, features="pixels")


def test_the_best_by_what_is_better_when_higher(tmp_path: Path) -> None:
    ms.train("vae", out=tmp_path / "r", best="psnr", **{**WATCHED, "metrics": ()})
    by = scores(tmp_path / "r", "psnr")
    assert min(by.values()) < max(by.values())
    assert int((tmp_path / "r" / "checkpoints" / "best").read_text()) == max(by, key=by.__getitem__)
    assert set(json.loads((tmp_path / "r" / "best.json").read_text())["report"]) == {"psnr"}


@pytest.mark.parametrize(("kind", "number"), [(Scored, 3), (Checkpointed, 2), (Reported, 4)])
def test_killed_and_taken_up_again_it_is_the_same_run(
    kind: type[Event], number: int, straight: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []

    def told(event: Event) -> None:
        seen.extend([event] if isinstance(event, kind) else [])
        if len(seen) == number:
            raise Stopped

    with pytest.raises(Stopped):
        ms.train("dcgan", out=tmp_path / "r", best="fd", hooks=Hooks(listeners=[told]), **WATCHED)
    assert not (tmp_path / "r" / "best.json").exists()
    ms.train("dcgan", out=tmp_path / "r", best="fd", **WATCHED)
    assert contents(tmp_path / "r") == contents(straight)
    assert lines(tmp_path / "r") == lines(straight)
    for name in ("checkpoints/best", "best.json", "evaluation.json"):
        assert (tmp_path / "r" / name).read_bytes() == (straight / name).read_bytes(), name


def test_the_best_checkpoint_is_a_whole_one_and_training_goes_on_from_it(straight: Path, tmp_path: Path) -> None:
    shutil.copytree(straight, tmp_path / "r")
    folder = tmp_path / "r" / "checkpoints"
    # Not the last, so that there is something to do again.
    best = next(name for name in sorted(path.name for path in folder.glob("0*")) if int(name) == 320)
    tensors = {path.stem for path in (folder / best).glob("*.safetensors")}
    assert tensors == {"model", "ema", "optimizer"}
    state = ms.load(tmp_path / "r", checkpoint="best").checkpoint
    from morphospace.runs.checkpoints import load_checkpoint

    held = load_checkpoint(state).tensors
    assert {key.split(".")[0] for key in held["model"]} == {"generator", "critic"}
    assert {key.split("/")[0] for key in held["optimizer"]} == {"generator", "critic"}
    (folder / "last").write_text(best)
    ms.train("dcgan", out=tmp_path / "r", best="fd", **WATCHED)
    assert contents(tmp_path / "r") == contents(straight) and lines(tmp_path / "r") == lines(straight)


def test_patience_ends_a_run_at_the_scoring_and_for_good(tmp_path: Path) -> None:
    told: list[Finished] = []
    hooks = Hooks(listeners=[lambda event: told.append(event) if isinstance(event, Finished) else None])
    given = WATCHED | {"best": "fd", "patience": 2, "min_delta": 1e9, "metrics_every_images": 96}
    ms.train("vae", out=tmp_path / "a", hooks=hooks, **given)
    # The first scoring is the reference, and two more are waited for.
    assert told[-1].clock.images == 288 and told[-1].stopped.startswith("fd has not become better by more than 1e+09")
    assert (tmp_path / "a" / "best.json").is_file()
    reported = [line["images"] for line in lines(tmp_path / "a") if "vae/loss" in line]
    assert reported == [160, 288]  # the stretch that was cut short, too

    for killed in (192, 288):  # while it waits, and when it has waited for long enough

        def dies(event: Event, killed: int = killed) -> None:
            if isinstance(event, Checkpointed) and event.clock.images == killed:
                raise Stopped

        out = tmp_path / f"killed at {killed}"
        with pytest.raises(Stopped):
            ms.train("vae", out=out, hooks=Hooks(listeners=[dies]), **given)
        ms.train("vae", out=out, hooks=hooks, **given)
        assert told[-1].clock.images == 288 and contents(tmp_path / "a") == contents(out)
    on = ms.resume(tmp_path / "a", patience=0, hooks=hooks)
    assert told[-1].stopped == "" and ms.load(on.path, checkpoint="last").images == 800


def test_patience_with_the_loss_needs_no_metric(tmp_path: Path) -> None:
    told: list[Finished] = []
    hooks = Hooks(listeners=[lambda event: told.append(event) if isinstance(event, Finished) else None])
    ms.train("vae", out=tmp_path / "r", patience=1, min_delta=1e9, hooks=hooks, **PLAIN)
    assert told[-1].clock.images == 320 and told[-1].stopped.startswith("loss has not")
    assert not (tmp_path / "r" / "best.json").exists()


def test_what_is_reported_on_is_not_looked_at_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = Side.images

    def images(self: Side) -> Any:
        looked.append(self.name)
        return real(self)

    monkeypatch.setattr(Side, "images", images)
    monkeypatch.setenv("MORPHOSPACE_CACHE", str(tmp_path / "cache"))
    before: list[set[str]] = []
    hooks = Hooks(listeners=[lambda event: before.append(set(looked)) if isinstance(event, Scored) else None])
    ms.train("vae", out=tmp_path / "r", best="fd", hooks=hooks, **WATCHED)
    assert before[-1] == {"held-out"} and set(looked) == {"held-out", "test"}


def test_where_there_is_no_test_split_the_held_out_images_are_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    priors: list[object] = []
    score = Scorer.score

    def spied(self: Scorer) -> dict[str, Score]:
        found = score(self)
        priors.append(self.model.prior)
        return found

    monkeypatch.setattr(Scorer, "score", spied)
    pack = in_memory_pack("blobs", Split(draw_blobs(80, (16, 16, 1))))
    by, report = sides(pack, 0.25, 100)
    assert len(by.rows) == len(report.rows) == 10 and not set(by.rows) & set(report.rows)
    assert by.name != report.name
    settings = {key: value for key, value in WATCHED.items() if key not in ("data", "images")}
    run = ms.train("ae", data=pack, out=tmp_path / "r", images=320, valid=0.25, best="fd", **settings)
    found = json.loads((run.path / "best.json").read_text())
    assert found["report"]["fd"]["conditions"]["split"] == "held-out, other half"
    # A prior fitted for a scoring is of that moment and is not kept; that of the checkpoint reported on is.
    kept = [path.parent.name for path in (run.path / "checkpoints").glob("*/prior-*")]
    assert kept == [f"{found['checkpoint']:012d}"]
    assert priors == [None, None]
    assert found["selection"]["fd"]["value"] == scores(run.path, "fd")[found["checkpoint"]]


def test_a_valid_split_of_the_datas_own_is_taken() -> None:
    splits = {name: Split(draw_blobs(count, (8, 8, 1))) for name, count in (("train", 40), ("valid", 12), ("test", 30))}
    pack = in_memory_pack("three", **splits)
    by, report = sides(pack, 0.05, 100)
    assert (by.name, len(by.rows), report.name, len(report.rows)) == ("valid", 12, "test", 12)
    assert np.array_equal(by.rows, np.arange(12))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("vae", {"valid": 0.0, "best": "fd"}, "valid = 0 holds out none of digits; add --valid 0.05"),
        ("vae", {"metrics": ("fdd",)}, "metrics = 'fdd': there is no such metric.*did you mean 'fd'"),
        ("vae", {"best": "fdd"}, "best = 'fdd': nothing can be chosen by it.*did you mean 'fd'"),
        ("vae", {"best": "pr"}, "best = 'pr': is several numbers; choose by one of precision, recall"),
        (
            "vae",
            {"best": "novelty"},
            "best = 'novelty': neither more nor less of it is better; choose by one of loss",
        ),
        ("vae", {"metrics": ("is",)}, "metrics = 'is': needs class probabilities"),
        ("vae", {"metrics": ("pr",), "metrics_n": 3}, "metrics = 'pr': needs at least 4 images"),
        ("vae", {"metrics_features": "pixls"}, "metrics_features = 'pixls': .*did you mean 'pixels'"),
        ("vae", {"metrics_n": 1}, "metrics_n = 1: must be from 2"),
        ("vae", {"patience": -1}, "patience = -1: must not be negative"),
        ("vae", {"patience": 2, "valid": 0.0, "metrics": ()}, "patience = 2: no images are held out; add --valid 0.05"),
        ("dcgan", {"patience": 2}, "patience = 2: the model has no loss on held-out images; choose by a metric"),
        ("dcgan", {"best": "mse"}, "metrics = 'mse': dcgan has no encoder"),
        ("vae", {"metrics": (), "metrics_every_images": 5}, "metrics_every_images = 5: .*name a metric"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_run(
    name: str, given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        ms.train(name, out=tmp_path / "r", **{**WATCHED, **given})
    assert "\n" not in str(caught.value) and not (tmp_path / "r").exists()


def test_a_number_stands_for_its_metric_and_the_choice_is_measured_too() -> None:
    plan = planned(TrainingSettings(metrics=("recall", "fd", "pr"), best="kid"))
    assert plan is not None and plan.metrics == ("pr", "fd", "kid") and plan.lower
    assert planned(TrainingSettings()) is None
    higher = planned(TrainingSettings(best="coverage"))
    assert higher is not None and not higher.lower


def test_a_finished_run_is_not_scored_again(straight: Path, tmp_path: Path) -> None:
    shutil.copytree(straight, tmp_path / "r")
    said: list[str] = []
    ms.train("dcgan", out=tmp_path / "r", best="fd", hooks=Hooks(say=said.append), **WATCHED)
    assert not [line for line in said if "scoring" in line]
    # Over already, its best stays what the former choice took, and is said to be that.
    ms.train("dcgan", out=tmp_path / "r", best="recall", **WATCHED)
    assert json.loads((tmp_path / "r" / "best.json").read_text())["by"] == "fd"
    # Taken on by another number, the choice begins anew and is said of that.
    ms.train("dcgan", out=tmp_path / "r", best="recall", **{**WATCHED, "images": 1120})
    assert json.loads((tmp_path / "r" / "best.json").read_text())["by"] == "recall"
    assert int((tmp_path / "r" / "checkpoints" / "best").read_text()) > 800


TWO = """
import os, sys
import torch
import morphospace as ms
from morphospace.tools.train.train import Hooks
from morphospace.training.events import Finished, Scored
torch.set_num_threads(1)
ends = []
def told(event):
    if isinstance(event, Finished):
        ends.append((event.clock.images, event.stopped[:6]))
ms.train("vae", data="digits", out=sys.argv[1], images=640, batch_size=32, checkpoint_images=96, widths=(8,),
         latent_dim=4, metrics=("fd",), metrics_features="pixels", metrics_n=40, best="fd", patience=1, min_delta=1e9,
         device="cpu", hooks=Hooks(listeners=[told]))
rank = int(os.environ["RANK"])
assert ends == ([(192, "fd has")] if rank == 0 else []), ends
assert ms.load(sys.argv[1], checkpoint="last").images == 192
sys.stdout.flush()
os._exit(0)
"""


def test_of_two_processes_one_scores_and_both_end(tmp_path: Path) -> None:
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    words = [sys.executable, "-c", TWO, str(tmp_path / "r")]
    both = [subprocess.Popen(words, env={**shared, "RANK": str(rank)}) for rank in range(2)]
    try:
        assert [process.wait(timeout=300) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    assert list(scores(tmp_path / "r", "fd")) == [96, 192]


def test_on_the_command_line(morpho: Morpho, tmp_path: Path) -> None:  # noqa: F811
    words = ["train", "vae", *TINY[:-2], "--epochs", 1, "--widths", 4, "--metrics", "fd,precision", "--best", "fd"]
    words += ["--metrics-n", 40, "--metrics-features", "pixels", "--patience", 1, "--min-delta", 1e9]
    said = morpho(*words, "--out", tmp_path / "r")
    assert said.code == 0
    assert "scored:  fd " in said.out and "the best is chosen by fd" in said.out
    (stopped,) = [line for line in said.out.splitlines() if line.startswith("stopped at image")]
    assert "fd has not become better by more than 1e+09 in 1 scorings" in stopped and "try " not in said.out
    assert "best " in said.out and "40 held-out, seed 1000000), to be reported" in said.out
    told = morpho(*words, "--out", tmp_path / "r", "--json").json
    assert told["best"]["report"]["fd"]["conditions"]["split"] == "test"
    assert morpho("evaluate", tmp_path / "r", "--metrics", "fd,kid", "--n", 40, "--features", "pixels").code == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--best", "pr"], "best = 'pr': is several numbers; choose by one of precision, recall"),
        (["--metrics", "fd,fdd"], "metrics = 'fdd': there is no such metric (did you mean 'fd'?)"),
        (["--patience", "two"], "--patience = 'two': must be a whole number"),
        (["--metrics"], "--metrics: needs a value"),
    ],
)
def test_what_the_command_line_refuses(morpho: Morpho, tmp_path: Path, flags: list[str], words: str) -> None:  # noqa: F811
    for more in ([], ["--dry-run"]):
        said = morpho("train", "vae", *TINY, *flags, "--out", tmp_path / "r", *more)
        assert said.code == 2 and words in said.err and len(said.err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_why_there_is_no_best_is_said_in_a_line(tmp_path: Path) -> None:
    brief = {**PLAIN, "images": 64, "checkpoint_images": 64}
    without = ms.train("vae", out=tmp_path / "a", valid=0.0, **brief)
    with pytest.raises(ms.MorphospaceError, match=r"held no images out \(valid = 0\); take the last one with --check"):
        ms.load(without.path, checkpoint="best")
    gan = ms.train("dcgan", out=tmp_path / "b", **brief)
    with pytest.raises(ms.MorphospaceError, match="dcgan has no loss on held-out images to choose by"):
        ms.load(gan.path, checkpoint="best")
