"""A run: watching it changes nothing, its turns are its steps, and what it counts is what lies there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from morphospace.studio.live import plane
from morphospace.studio.live.frames import unpacked
from morphospace.studio.live.images import Images
from morphospace.studio.live.run import CRITIC, MAP, POINTS, Run
from morphospace.studio.live.settings import chosen, gans

SMALL: dict[str, Any] = {"widths": [8]}
REMEDIES: dict[str, dict[str, Any]] = {
    "spectral norm": {"spectral_norm": True},
    "replay": {"replay": 0.5, "replay_images": 64},
    "unrolled": {"unrolled": 2},
    "packing": {"packing": 2},
    "minibatch": {"minibatch_discrimination": 3},
    "features": {"feature_matching": 1.0},
    "shared": {"share_fakes": True},
    "R1 and R2": {"r1": 0.1, "r2": 0.1, "penalty_every": 2},
}
PLANE = [(name, SMALL, "ring") for name in gans()] + [
    ("dcgan", {**SMALL, **more}, "grid") for more in REMEDIES.values()
]
PICTURES = [("dcgan", {"base_width": 4}, "digits"), ("vae-gan", {"widths": [4], "critic_widths": [4]}, "digits")]


def run_of(gan: str, settings: dict[str, Any], data: Any, **more: Any) -> Run:
    return Run(chosen(gan, data, settings, batch=8, **more))


def tensors(run: Run) -> dict[str, bytes]:
    """Weights, buffers, the optimizers' state and the memory, as bytes."""
    files = run.engine.tensors()
    return {f"{file}/{name}": t.numpy().tobytes() for file, each in files.items() for name, t in each.items()}


@pytest.mark.parametrize(("gan", "settings", "data"), PLANE + PICTURES)
def test_watching_changes_no_byte(gan: str, settings: dict[str, Any], data: str) -> None:
    alone, watched = run_of(gan, settings, data), run_of(gan, settings, data)
    for _ in range(3):
        alone.step()
        watched.frame(measure=True)
        watched.step()
        torch.rand(3)  # whatever else a process draws
    assert tensors(alone) == tensors(watched) and not alone.failed
    other = run_of(gan, settings, data, seed=1)
    assert tensors(other) != tensors(run_of(gan, settings, data))


@pytest.mark.parametrize("gan", ["wgan", "r3gan", "vae-gan"])
def test_turns_one_at_a_time_are_the_step(gan: str) -> None:
    more = {"penalty_every": 2, "penalty_by_size": False} if gan == "r3gan" else {}
    whole, parts = (run_of(gan, {**SMALL, **more}, "moons") for _ in range(2))
    for _ in range(3):
        whole.step()
    seen = []
    while parts.steps < 3:
        parts.next_turn()
        seen.append(parts.last)
    assert tensors(whole) == tensors(parts)
    assert seen[-1] == "generator" and seen.count("critic") >= 3
    parts.next_turn()
    parts.step()  # the rest of the step that was begun
    whole.step()
    assert parts.steps == 4 and tensors(whole) == tensors(parts)


@pytest.mark.parametrize("gan", sorted(gans()))
def test_a_turn_moves_its_player_alone(gan: str) -> None:
    run = run_of(gan, SMALL, "ring")
    for player, steps in (("critic", 0), ("critic", 0), ("generator", 1)):
        before = {name: t.clone() for name, t in run.model.networks.named_parameters()}
        run.turn(player)  # type: ignore[arg-type]
        moved = {name.split(".")[0] for name, t in run.model.networks.named_parameters() if (t != before[name]).any()}
        moved -= set(getattr(run.model, "readers", ()))  # they learn with the critic
        assert moved == {"critic"} if player == "critic" else moved and "critic" not in moved
        assert run.steps == steps and run.last == player


def test_a_frame_shows_what_the_model_makes() -> None:
    run = run_of("dcgan", {**SMALL, "packing": 2}, "ring")
    run.step()
    facts, arrays = unpacked(run.frame(measure=True, picture=1))
    assert facts["picture"] == 1 and facts["steps"] == 1 and facts["side"] == MAP and facts["measured"]["of"] == 8
    assert set(facts["losses"]) == {"critic", "generator"}
    with run.engine.judging(raw=True):
        points = run.model.decode(run._codes).flatten(1)
        # A place is judged as two copies of it; rows come from the top.
        corner = torch.tensor([[-1 + 1 / MAP, 1 - 1 / MAP]])
        first = float(run.model.judge(torch.cat([corner, corner], 1).view(1, 4, 1, 1)))
    assert np.abs(arrays["points"].reshape(POINTS, 2) - points.numpy()).max() < 1e-4
    assert arrays["heat"][0] == pytest.approx(first, abs=(np.ptp(arrays["heat"])) / 255 + 1e-6)
    assert len(arrays["push"]) == 96
    # A critic that compares the points of a batch has no judgement of a place.
    facts, arrays = unpacked(run_of("dcgan", {**SMALL, "minibatch_discrimination": 2}, "ring").frame())
    assert set(arrays) == {"points"} and "measured" not in facts
    facts, arrays = unpacked(run_of(*PICTURES[1]).frame())
    assert facts["shape"] == [16, 16, 1] and arrays["images"].shape == (64 * 256,)
    assert arrays["images"].min() >= 0 and arrays["images"].max() <= 1


def test_a_loss_that_is_not_finite_ends_training_in_words() -> None:
    run = run_of("dcgan", SMALL, "ring")
    with torch.no_grad():
        next(run.model.networks.parameters()).fill_(torch.nan)
    run.step()
    facts, _ = unpacked(run.frame(measure=True))
    assert facts["failed"].startswith("critic/fake is nan at step 0") and facts["steps"] == run.steps == 0
    run.step()
    assert run.steps == 0


def test_phases_have_the_names_by_which_players_are_known() -> None:
    for name in gans():
        run = run_of(name, SMALL, "ring")
        assert any(phase.name in CRITIC for phase in run.engine.phases), name


# -- what is counted -----------------------------------------------------------------------------------------------


def test_clusters_are_counted_by_the_samples_nearest_to_them() -> None:
    ring = plane.ring()
    three = ring.centres[:3].repeat(100, 1) + 0.01
    assert ring.measured(three) == {"reached": 3, "of": 8, "good": 1}
    assert ring.measured(three * 0.8)["good"] == 0  # near them, not on them
    moons = plane.Moons()
    assert moons.measured(plane.moons(500, 3)[0]) == {"reached": pytest.approx(1, abs=0.05), "of": 0, "good": 1}
    assert moons.measured(plane.moons(500, 3)[0][:1])["reached"] < 0.2


def test_classes_are_counted_by_the_nearest_training_images() -> None:
    digits = Images("digits")
    assert digits.classes is not None
    ones = torch.from_numpy(digits.train.images[:1000][(digits.classes == 1).numpy()]).permute(0, 3, 1, 2) / 255
    assert digits.measured(ones) == {"reached": 1, "of": 10, "good": 1}
    unseen = torch.from_numpy(np.array(digits.pack.split("test").images)).permute(0, 3, 1, 2) / 255
    real = digits.measured(unseen)
    assert real["reached"] == 10 and real["good"] == pytest.approx(0.95, abs=0.01)
    assert digits.measured(torch.rand(50, 1, 16, 16))["good"] == 0


def test_a_drawing_is_read_as_the_page_writes_it() -> None:
    drawn = plane.drawing("0000zzzz")
    assert torch.allclose(drawn.centres, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), atol=1e-3)
    points, _ = drawn.draw(100, 0)
    assert drawn.measured(points)["good"] == 1
