"""Early stop on posterior collapse: when, never otherwise, the same after a resume, and the message to the user."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import morphospace as ms
from morphospace.errors import SettingError
from morphospace.objectives.clock import Clock
from morphospace.runs.checkpoints import load_checkpoint
from morphospace.tools.train.train import Hooks
from morphospace.training.collapse import CollapseStop
from morphospace.training.events import Finished, Reported, listener_states, load_listener_states
from tests.cli.conftest import TINY, Morpho, morpho, quiet_place  # noqa: F401

# A KL this dear is given up at once.
DEAD = {
    "data": "digits",
    "images": 2048,
    "batch_size": 32,
    "report_images": 64,
    "checkpoint_images": 2048,
    "widths": (8,),
    "latent_dim": 4,
    "lr": 1e-2,
    "beta": 1e4,
    "stop_on_collapse": 0.05,
    "collapse_reports": 3,
    "device": "cpu",
}


class Stub:
    stop = ""


def report(*values: float) -> Reported:
    terms = {f"part{i}/kl": value for i, value in enumerate(values)} | {"vae/reconstruction": 0.0}
    return Reported(Clock(1, 10, 0.1), 1.0, 10.0, terms, 100)


def test_it_counts_reports_in_a_row() -> None:
    engine = Stub()
    watch = CollapseStop(engine, 0.5, 3)
    for value in (0.1, 0.2, 0.6, 0.1, 0.5, 0.3, 0.2):
        watch(report(value))
        assert engine.stop == ""
    watch(Finished(Clock(1, 10, 0.1), ""))
    for _ in range(3):  # reports that signals call for are no more evidence than one
        watch(replace(report(0.1), due=False))
        assert engine.stop == ""
    watch(report(0.1))
    assert "KL was below 0.5 nats in 3 reports in a row, 0.1 in the last" in engine.stop


def test_a_model_without_a_kl_never_stops_and_a_signal_is_not_overwritten() -> None:
    engine = Stub()
    watch = CollapseStop(engine, 0.5, 1)
    watch(report())
    assert engine.stop == "" and watch.below == 0
    engine.stop = "SIGINT"
    watch(report(0.0))
    assert engine.stop == "SIGINT"


def test_listeners_remember_by_name() -> None:
    first, second = CollapseStop(Stub(), 0.5, 5), CollapseStop(Stub(), 0.5, 5)
    for _ in range(4):
        first(report(0.2))
    listeners = [print, first]
    states = json.loads(json.dumps(listener_states(listeners)))
    assert states == {"collapse": {"below": 4, "kl": 0.2}}
    load_listener_states([print, second], states)
    second(report(0.1))
    assert second.engine.stop
    load_listener_states([second], None)  # a checkpoint from before there were any


def test_a_collapsed_run_ends_early_once_and_for_all(tmp_path: Path) -> None:
    finished: list[Finished] = []
    hooks = Hooks(listeners=[lambda event: finished.append(event) if isinstance(event, Finished) else None])
    run = ms.train("vae", out=tmp_path / "a", hooks=hooks, **DEAD)
    assert run.images < 2048 and finished[-1].stopped.startswith("posterior collapse")
    end = finished[-1].clock.images
    assert end == ms.load(run.path, checkpoint="last").images  # nothing is lost
    ms.train("vae", out=tmp_path / "a", hooks=hooks, **DEAD)
    assert finished[-1].clock.images == end and finished[-1].stopped.startswith("posterior collapse")
    # Told not to mind, the same run goes on.
    on = ms.resume(tmp_path / "a", images=end + 64, stop_on_collapse=0.0, hooks=hooks)
    assert finished[-1].stopped == "" and ms.load(on.path, checkpoint="last").images >= end + 64


def test_the_count_survives_a_resume(tmp_path: Path) -> None:
    straight = ms.train("vae", out=tmp_path / "a", **DEAD)
    end = ms.load(straight.path, checkpoint="last").images
    ms.train("vae", out=tmp_path / "b", **{**DEAD, "images": end - 96})
    state = load_checkpoint(ms.load(tmp_path / "b", checkpoint="last").checkpoint)
    assert state.numbers["listeners"]["collapse"]["below"] in (1, 2)  # type: ignore[index]
    resumed = ms.resume(tmp_path / "b", images=2048)
    assert ms.load(resumed.path, checkpoint="last").images == end


def test_a_sound_run_goes_to_its_end(tmp_path: Path) -> None:
    run = ms.train("vae", out=tmp_path / "r", **{**DEAD, "beta": 1.0, "images": 512, "stop_on_collapse": 0.5})
    assert run.images == 512


@pytest.mark.parametrize("name", ["ae", "dcgan"])
def test_only_a_vae_can_collapse(name: str, tmp_path: Path) -> None:
    settings = {key: value for key, value in DEAD.items() if key != "beta"}
    with pytest.raises(SettingError, match=f"stop_on_collapse = 0.05: {name} has no KL"):
        ms.train(name, out=tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


def test_the_command_line_says_what_happened_and_what_to_try(morpho: Morpho, tmp_path: Path) -> None:  # noqa: F811
    words = ["train", "vae", *TINY[:-2], "--epochs", 2, "--widths", 4, "--beta", 1e4, "--lr", 0.01]
    words += ["--stop-on-collapse", 0.05, "--collapse-reports", 2, "--out", tmp_path / "r"]
    said = morpho(*words)
    assert said.code == 0 and said.err == ""
    (line,) = [line for line in said.out.splitlines() if line.startswith("stopped at image")]
    assert "posterior collapse: the KL was below 0.05 nats" in line
    (advice,) = [line for line in said.out.splitlines() if line.startswith("try ")]
    assert all(flag in advice for flag in ("a lower --beta", "--kl-warmup-images", "--free-bits"))
    answer = morpho(*words, "--json").json
    assert answer["stopped"].startswith("posterior collapse") and "error" not in answer
